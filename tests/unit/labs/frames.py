"""Frames and captures written by hand, as the standards say: nothing here comes from the code under test."""

import struct
from ipaddress import ip_address

from labs.engine.capture import Capture
from labs.engine.packet import Endpoint, Packet

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10


def tcp(source: str, sport: int, target: str, dport: int, flags: int, payload: bytes = b"") -> bytes:
    body = struct.pack("!2H2I2B3H", sport, dport, 1, 1, 8 << 4, flags, 1024, 0, 0) + bytes(12) + payload
    return _ip(source, target, 6, body)


def udp(source: str, sport: int, target: str, dport: int, payload: bytes = b"") -> bytes:
    return _ip(source, target, 17, struct.pack("!4H", sport, dport, 8 + len(payload), 0) + payload)


def icmp(source: str, target: str, kind: int, code: int) -> bytes:
    return _ip(source, target, 58 if ":" in source else 1, struct.pack("!2BH", kind, code, 0) + bytes(12))


def ethernet(kind: int, body: bytes) -> bytes:
    return bytes(12) + struct.pack("!H", kind) + body


def pcap(*frames: bytes, order: str = "<", magic: int = 0xA1B2C3D4, link: int = 1) -> bytes:
    """The n-th frame (from 0) is n seconds and 250 units after the epoch."""
    records = [struct.pack(f"{order}4I", n, 250, len(frame), len(frame)) + frame for n, frame in enumerate(frames)]
    return struct.pack(f"{order}I2HiI2I", magic, 2, 4, 0, 0, 262144, link) + b"".join(records)


def packet(
    source: str,
    target: str,
    note: str = "SYN",
    protocol: str = "tcp",
    at: float = 0.0,
    payload: bytes = b"",
    sequence: int = 1,
) -> Packet:
    """packet("10.0.0.1:5000", "10.0.0.2:80")"""
    return Packet(at, endpoint(source), endpoint(target), protocol, note, payload, sequence=sequence)


def endpoint(text: str) -> Endpoint:
    address, _, port = text.rpartition(":")
    return Endpoint(address, int(port))


def capture(*packets: Packet, place: str = "client", expression: str = "tcp", dropped: int = 0) -> Capture:
    names = {"10.244.1.2": "client", "10.244.2.3": "web-2", "172.18.0.4": "w2"}
    return Capture(place, "eth0", expression, "pcaps/x.pcap", "lab exec client -- tcpdump", dropped, packets, names)


def _ip(source: str, target: str, protocol: int, body: bytes) -> bytes:
    ends = ip_address(source).packed + ip_address(target).packed
    if ":" in source:
        return ethernet(0x86DD, struct.pack("!IH2B", 6 << 28, len(body), protocol, 64) + ends + body)
    return ethernet(0x0800, struct.pack("!2B3H2BH", 0x45, 0, 20 + len(body), 1, 0, 64, protocol, 0) + ends + body)
