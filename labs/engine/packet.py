"""The contents of a frame, as far as a lab needs them: sender, receiver, protocol, TCP flags.

It knows Ethernet (with VLAN tags), bare IP, IPv4, IPv6 with its usual extension headers, TCP, UDP, ICMP and ICMPv6.
Everything else is None: ARP and the like carry no Service address. A later fragment has addresses but no ports.

A packet that carries another one has it as `inner`: flannel's UDP backend (port 8285: the payload is the bare IP
packet) and VXLAN (ports 4789 and 8472). They are recognized by their destination port.
"""

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from labs.engine.pcap import ETHERNET, RAW

_VLAN_TAGS = (0x8100, 0x88A8)
_IPV4, _IPV6 = 0x0800, 0x86DD
_EXTENSION_HEADERS = (0, 43, 60)  # hop-by-hop, routing, destination options: same layout
_FRAGMENT = 44
_FLANNEL_UDP = 8285
_VXLAN = (4789, 8472)  # the assigned port, and Linux's own, which flannel and others use
_VXLAN_HEADER = 8
NESTED = 4  # packets in one another that are read: a frame has room for thousands
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp"}
_FLAGS = ((0x02, "SYN"), (0x01, "FIN"), (0x04, "RST"), (0x08, "PSH"), (0x10, "ACK"))
_ICMP = {
    (4, 3, 0): "net unreachable",
    (4, 3, 1): "host unreachable",
    (4, 3, 3): "port unreachable",
    (4, 3, 13): "prohibited",
    (4, 8, 0): "echo request",
    (4, 0, 0): "echo reply",
    (4, 5, 0): "redirect (net)",
    (4, 5, 1): "redirect (host)",
    (6, 1, 0): "no route",
    (6, 1, 1): "prohibited",
    (6, 1, 3): "address unreachable",
    (6, 1, 4): "port unreachable",
    (6, 128, 0): "echo request",
    (6, 129, 0): "echo reply",
    (6, 135, 0): "neighbor query",
    (6, 136, 0): "neighbor answer",
}


class Endpoint(NamedTuple):
    """An address with a port; without a port it stands for every port of the address."""

    address: str
    port: int | None = None

    def covers(self, other: "Endpoint") -> bool:
        return self.address == other.address and self.port in (None, other.port)

    def __str__(self) -> str:
        if self.port is None:
            return self.address
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Packet(NamedTuple):
    time: float
    source: Endpoint
    target: Endpoint
    protocol: str  # "tcp", "udp", "icmp" or the protocol number
    note: str  # TCP flags such as "SYN,ACK", or the type of an ICMP message
    payload: bytes
    inner: "Packet | None" = None  # the packet that this one carries between two nodes
    sequence: int = 0  # of TCP: the same everywhere on the packet's path

    @property
    def size(self) -> int:
        return len(self.payload)

    def involves(self, endpoint: Endpoint) -> bool:
        return endpoint.covers(self.source) or endpoint.covers(self.target)


def decode(time: float, frame: bytes, link: int = ETHERNET, nested: int = NESTED) -> Packet | None:
    """Return the packet in a frame; None if the frame has no IP packet (or too little of one)."""
    try:
        packet = _framed(time, frame) if link == ETHERNET else _bare(time, frame)
    except (struct.error, IndexError, ValueError):  # truncated to the capture's snapshot length
        return None
    return packet and packet._replace(inner=_carried(packet, nested - 1))


def _framed(time: float, frame: bytes) -> Packet | None:
    kind, at = _ethernet(frame)
    if kind == _IPV4:
        return _ipv4(time, frame[at:])
    return _ipv6(time, frame[at:]) if kind == _IPV6 else None


def _bare(time: float, packet: bytes) -> Packet | None:
    version = packet[0] >> 4
    if version == 4:
        return _ipv4(time, packet)
    return _ipv6(time, packet) if version == 6 else None


def _ethernet(frame: bytes) -> tuple[int, int]:
    at = 12
    (kind,) = struct.unpack_from("!H", frame, at)
    while kind in _VLAN_TAGS:
        at += 4
        (kind,) = struct.unpack_from("!H", frame, at)
    return kind, at + 2


def _ipv4(time: float, packet: bytes) -> Packet:
    header = (packet[0] & 0x0F) * 4
    total, fragment, protocol = struct.unpack_from("!2xH2xHxB", packet)
    source, target = str(IPv4Address(packet[12:16])), str(IPv4Address(packet[16:20]))
    first = fragment & 0x1FFF == 0
    # The total length, not the frame's: short frames are padded to 60 bytes.
    return _transport(time, source, target, 4, protocol, packet[header:total] if first else b"")


def _ipv6(time: float, packet: bytes) -> Packet:
    length, protocol = struct.unpack_from("!4xHB", packet)
    source, target = str(IPv6Address(packet[8:24])), str(IPv6Address(packet[24:40]))
    body = packet[40 : 40 + length]
    while protocol in _EXTENSION_HEADERS or protocol == _FRAGMENT:
        if protocol == _FRAGMENT:
            first = struct.unpack_from("!2xH", body)[0] & 0xFFF8 == 0
            protocol, body = body[0], body[8:] if first else b""
        else:
            protocol, body = body[0], body[8 + body[1] * 8 :]
    return _transport(time, source, target, 6, protocol, body)


def _transport(time: float, source: str, target: str, family: int, protocol: int, body: bytes) -> Packet:
    name = _PROTOCOLS.get(protocol, str(protocol))
    if not body or name not in ("tcp", "udp", "icmp"):
        return Packet(time, Endpoint(source), Endpoint(target), name, "", body)
    if name == "icmp":
        note = _ICMP.get((family, body[0], body[1]), f"type {body[0]} code {body[1]}")
        return Packet(time, Endpoint(source), Endpoint(target), name, note, body[8:])
    ports = struct.unpack_from("!2H", body)
    ends = Endpoint(source, ports[0]), Endpoint(target, ports[1])
    if name == "udp":
        return Packet(time, *ends, name, "", body[8:])
    flags = ",".join(word for bit, word in _FLAGS if body[13] & bit)
    (sequence,) = struct.unpack_from("!I", body, 4)
    return Packet(time, *ends, name, flags, body[(body[12] >> 4) * 4 :], sequence=sequence)


def _carried(packet: Packet, nested: int) -> Packet | None:
    if packet.protocol != "udp" or not nested:
        return None
    if packet.target.port == _FLANNEL_UDP:
        return decode(packet.time, packet.payload, RAW, nested)
    if packet.target.port in _VXLAN:
        return decode(packet.time, packet.payload[_VXLAN_HEADER:], nested=nested)
    return None
