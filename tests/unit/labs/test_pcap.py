"""Reading capture files."""

import pytest

from labs.engine.errors import BrokenCaptureError
from labs.engine.pcap import RAW, open_capture
from tests.unit.labs.frames import pcap

FRAMES = (b"first frame", b"second")


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize(
    ("magic", "unit"), [(0xA1B2C3D4, 1e-6), (0xA1B23C4D, 1e-9)], ids=["microseconds", "nanoseconds"]
)
def test_frames_and_times_come_back(order: str, magic: int, unit: float) -> None:
    read = list(open_capture(pcap(*FRAMES, order=order, magic=magic)).frames())
    assert [frame for _, frame in read] == list(FRAMES)
    assert [time for time, _ in read] == pytest.approx([250 * unit, 1 + 250 * unit])


def test_a_capture_of_nothing_has_no_frames() -> None:
    assert list(open_capture(pcap()).frames()) == []


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(b"", "0 bytes", id="empty"),
        pytest.param(b"PK\x03\x04" + bytes(40), "50 4b 03 04", id="another format"),
        pytest.param(b"\x0a\x0d\x0d\x0a" + bytes(40), "0a 0d 0d 0a", id="pcapng"),
        pytest.param(pcap(*FRAMES, link=276), "link type 276 is neither Ethernet", id="captured on any"),
        pytest.param(pcap(*FRAMES)[:-1], "6 bytes said, 5 there", id="ends inside a packet"),
        pytest.param(pcap(*FRAMES)[:30], "inside a record's header", id="ends inside a header"),
    ],
)
def test_what_is_no_whole_capture_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(BrokenCaptureError, match=why):
        list(open_capture(data).frames())


def test_the_link_type_says_what_a_frame_begins_with() -> None:
    assert open_capture(pcap(*FRAMES)).link == 1
    assert open_capture(pcap(*FRAMES, link=101)).link == RAW
