"""A capture as pcapng: the same frames, each with a comment that names Service and pod. Wireshark shows it in a line.

    annotated(open_capture(data), cluster, "client eth0", "tcp")

Blocks and options are those of the IETF's pcapng draft (draft-ietf-opsawg-pcapng), little-endian, time in microseconds.
"""

import struct
from collections.abc import Iterator

from labs.engine.cluster import Cluster
from labs.engine.packet import decode
from labs.engine.pcap import CaptureFile
from labs.engine.report.who import tell

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_BYTE_ORDER = 0x1A2B3C4D
_LENGTH_UNKNOWN = 0xFFFFFFFFFFFFFFFF
_COMMENT, _APPLICATION = 1, 4
_NAME, _FILTER = 2, 11
_WHOLE = 262144  # tcpdump's own limit for a frame
_MICROSECONDS = 1_000_000


def annotated(capture: CaptureFile, cluster: Cluster, interface: str, expression: str) -> bytes:
    """Return the file. A frame without an IP packet has no comment."""
    section = struct.pack("<IHHQ", _BYTE_ORDER, 1, 0, _LENGTH_UNKNOWN)
    described = _option(_NAME, interface.encode()) + _option(_FILTER, b"\0" + expression.encode())  # 0: as a string
    return b"".join(
        [
            _block(_SECTION, section, _option(_APPLICATION, b"socklb lab report")),
            _block(_INTERFACE, struct.pack("<HHI", capture.link, 0, _WHOLE), described),
            *_packets(capture, cluster),
        ]
    )


def _packets(capture: CaptureFile, cluster: Cluster) -> Iterator[bytes]:
    for time, frame in capture.frames():
        packet = decode(time, frame, capture.link)
        comment = _option(_COMMENT, tell(packet, cluster).encode()) if packet else b""
        high, low = divmod(round(time * _MICROSECONDS), 1 << 32)
        head = struct.pack("<5I", 0, high, low, len(frame), len(frame))
        yield _block(_PACKET, head + _padded(frame), comment)


def _block(kind: int, body: bytes, options: bytes) -> bytes:
    if options:
        options += struct.pack("<HH", 0, 0)
    length = struct.pack("<I", 12 + len(body) + len(options))
    return struct.pack("<I", kind) + length + body + options + length


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
