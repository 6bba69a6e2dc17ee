"""Any bytes as a capture: what is readable of it, or a sentence; the page and Wireshark's file are made of both."""

import struct
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from labs.engine.capture import Capture, read
from labs.engine.claims import first, handshake, never, sees
from labs.engine.errors import BrokenCaptureError
from labs.engine.ladder import ladder
from labs.engine.packet import Endpoint, Packet
from labs.engine.pcap import RAW, open_capture
from labs.engine.report import arrows
from labs.engine.report.pcapng import annotated
from labs.engine.report.story import packet_rows
from tests.unit.fuzz.drawn import FUZZ, spliced
from tests.unit.fuzz.messages import judge
from tests.unit.labs.clusters import local
from tests.unit.labs.frames import ACK, PSH, SYN, ethernet, icmp, pcap, tcp, udp

CLUSTER = local()
CLIENT, WEB, SERVICE = "10.244.1.2", "10.244.2.3", "10.96.0.10"
V6 = ("fd00:10:244:1::2", "fd00:10:96::10")


def carried(depth: int, *, vxlan: bool) -> bytes:
    """A frame that carries another one, and that another one."""
    frame = tcp(CLIENT, 40000, WEB, 8080, SYN)
    for _ in range(depth):
        inner = bytes(8) + frame if vxlan else frame[14:]
        if len(inner) > 65_000:
            break
        frame = udp("172.18.0.3", 5000, "172.18.0.4", 4789 if vxlan else 8285, inner)
    return frame


def with_extensions(count: int, *, first: int = 0) -> bytes:
    """An IPv6 packet with so many extension headers that nothing else is in it."""
    return ethernet(0x86DD, struct.pack("!IH2B", 6 << 28, 8 * count, first, 64) + bytes(32) + bytes(8 * count))


FRAMES = [
    tcp(CLIENT, 40000, SERVICE, 80, SYN),
    tcp(WEB, 8080, CLIENT, 40000, SYN | ACK),
    tcp(WEB, 8080, CLIENT, 40000, PSH | ACK, b"HTTP/1.1 200 OK\r\n\r\nweb-2\n\xff\x1b[1m"),
    tcp(*(V6[0], 40000), *(V6[1], 80), SYN),
    udp(CLIENT, 5353, SERVICE, 53, b"\0\1\1\0"),
    icmp(WEB, CLIENT, 3, 3),
    icmp(V6[1], V6[0], 1, 4),
    ethernet(0x8100, b"\0\7" + tcp(CLIENT, 1, WEB, 2, ACK)[12:]),
    ethernet(0x0806, bytes(28)),
    carried(1, vxlan=True),
    carried(2, vxlan=False),
    with_extensions(3),
    with_extensions(3, first=44),
]
HEADERS = {"order": ("<", ">"), "magic": (0xA1B2C3D4, 0xA1B23C4D), "link": (1, RAW, 113)}
GOOD = st.builds(
    lambda frames, **header: pcap(*(frame[14:] if header["link"] == RAW else frame for frame in frames), **header),
    st.lists(st.sampled_from(FRAMES), max_size=5),
    **{name: st.sampled_from(values) for name, values in HEADERS.items()},
)
FULL = st.sampled_from([pcap(frame) for frame in FRAMES])
TOKENS = (
    *(
        b"\xff\xff\xff\xff",
        b"\xff\xff\xff\x7f",
        b"\0\0\0\0",
        b"\xff\xff",
        b"\0\0",
        b"\0",
        b"\xff",
        b"\x81\0",
        b"\x86\xdd",
    ),
    *(b"\x45", b"\x40", b"\x4f", b"\x60", b"\x11", b"\x2c", b"\x20\x5d", b"\x12\xb5", b"\x21\x18", b"\xd4\xc3\xb2\xa1"),
)


@settings(FUZZ, max_examples=300)
@given(spliced(GOOD, TOKENS) | spliced(FULL, TOKENS) | st.binary(max_size=40), st.booleans())
@example(pcap(carried(2400, vxlan=True)), False)
@example(pcap(carried(2400, vxlan=False)), False)
@example(pcap(with_extensions(8000)), True)
@example(pcap(with_extensions(8000, first=44)), False)
def test_any_bytes_are_a_capture_or_told(data: bytes, growing: bool) -> None:
    packets = packets_of(data, growing=growing)
    if packets is None:
        return
    shown(packets)
    claimed(packets)
    annotated(open_capture(data, growing=growing), CLUSTER, "client eth0", "tcp")


def packets_of(data: bytes, *, growing: bool) -> tuple[Packet, ...] | None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.pcap"
        file.write_bytes(data)
        try:
            return read(file, growing=growing)
        except BrokenCaptureError as error:
            judge(str(error))
            return None


def shown(packets: tuple[Packet, ...]) -> None:
    for line in ladder(packets, CLUSTER.names()):
        assert line.isprintable()
    arrows.ladder(packets, CLUSTER)
    list(packet_rows(packets, CLUSTER))


def claimed(packets: tuple[Packet, ...]) -> None:
    found = Capture("client", "eth0", "tcp", "pcaps/x.pcap", "tcpdump", 0, packets, CLUSTER.names())
    for one in found.conversations:
        assert isinstance(one.reply, str)
    service = Endpoint(SERVICE, 80)
    claims = [sees(found, service), never(found, service, control=found), handshake(found, "it shakes hands")]
    for claim in (*claims, first("SYN", found, to=[service], must="it goes to the Service")):
        judge(claim.seen)
