"""Read a capture file: the classic pcap format that `tcpdump -w` writes, with the standard library only.

    for time, frame in frames(Path("client.pcap").read_bytes()): ...

Not promised: pcapng (`tcpdump` writes it only when asked), or link types other than Ethernet: `-i any` is refused,
because the same packet shows up there once for each interface that it crosses.
"""

import struct
from collections.abc import Iterator

from labs.engine.errors import BrokenCaptureError

ETHERNET = 1
# magic number as the writer's byte order shows it -> (byte order, units of the second time field)
_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9),
}
_FILE_HEADER = 24
_RECORD_HEADER = 16


def frames(data: bytes) -> Iterator[tuple[float, bytes]]:
    """The (time in seconds since the epoch, frame) pairs of a capture file."""
    order, unit = _header(data)
    at = _FILE_HEADER
    while at < len(data):
        if at + _RECORD_HEADER > len(data):
            raise BrokenCaptureError(f"the capture ends inside a record's header, at byte {at} of {len(data)}")
        seconds, fraction, kept, _ = struct.unpack_from(f"{order}4I", data, at)
        at += _RECORD_HEADER
        if at + kept > len(data):
            raise BrokenCaptureError(f"the capture ends inside a packet: {kept} bytes said, {len(data) - at} there")
        yield seconds + fraction * unit, data[at : at + kept]
        at += kept


def _header(data: bytes) -> tuple[str, float]:
    if len(data) < _FILE_HEADER:
        raise BrokenCaptureError(f"no capture file: {len(data)} bytes, and its header alone has {_FILE_HEADER}")
    if data[:4] not in _MAGIC:
        raise BrokenCaptureError(f"no pcap file: it starts with {data[:4].hex(' ')}")
    order, unit = _MAGIC[data[:4]]
    (link,) = struct.unpack_from(f"{order}I", data, 20)
    if link & 0xFFFF != ETHERNET:
        raise BrokenCaptureError(
            f"link type {link & 0xFFFF} is not Ethernet ({ETHERNET}): capture on one interface, not on `any`"
        )
    return order, unit
