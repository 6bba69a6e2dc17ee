"""Read a capture file: the classic pcap format that `tcpdump -w` writes, with the standard library only.

    capture = open_capture(Path("client.pcap").read_bytes())
    for time, frame in capture.frames(): ...

Link types: Ethernet, and RAW of a tunnel interface, where a frame is a bare IP packet. pcapng is not supported
(`tcpdump` writes it only on request). `-i any` is refused, because the same packet appears there once for each
interface that it crosses.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from labs.engine.errors import BrokenCaptureError

ETHERNET, RAW = 1, 101
# magic number in the writer's byte order -> (byte order, units of the second time field)
_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9),
}
_FILE_HEADER = 24
_RECORD_HEADER = 16


@dataclass(frozen=True)
class CaptureFile:
    """The bytes of a capture file, and the information in its header."""

    link: int
    data: bytes
    order: str
    unit: float
    growing: bool = False  # still being written: an incomplete packet is left out

    def frames(self) -> Iterator[tuple[float, bytes]]:
        """Yield (time in seconds since the epoch, frame)."""
        at = _FILE_HEADER
        while at < len(self.data):
            if at + _RECORD_HEADER > len(self.data):
                if self.growing:
                    return
                raise BrokenCaptureError(f"the capture ends inside a record's header, at byte {at} of {len(self.data)}")
            seconds, fraction, kept, _ = struct.unpack_from(f"{self.order}4I", self.data, at)
            at += _RECORD_HEADER
            if at + kept > len(self.data):
                if self.growing:
                    return
                there = len(self.data) - at
                raise BrokenCaptureError(f"the capture ends inside a packet: {kept} bytes said, {there} there")
            yield seconds + fraction * self.unit, self.data[at : at + kept]
            at += kept


def open_capture(data: bytes, *, growing: bool = False) -> CaptureFile:
    """Read the header of a capture file.

    Raises:
        BrokenCaptureError: it is not one, or its link type is unknown.
    """
    if len(data) < _FILE_HEADER:
        raise BrokenCaptureError(f"no capture file: {len(data)} bytes, and its header alone has {_FILE_HEADER}")
    if data[:4] not in _MAGIC:
        raise BrokenCaptureError(f"no pcap file: it starts with {data[:4].hex(' ')}")
    order, unit = _MAGIC[data[:4]]
    link: int = struct.unpack_from(f"{order}I", data, 20)[0] & 0xFFFF
    if link not in (ETHERNET, RAW):
        raise BrokenCaptureError(
            f"link type {link} is neither Ethernet ({ETHERNET}) nor RAW ({RAW}): capture on one interface, not on `any`"
        )
    return CaptureFile(link, data, order, unit, growing)
