"""What a frame says."""

import struct

import pytest

from labs.engine.packet import NESTED, Endpoint, Packet, decode
from labs.engine.pcap import RAW
from tests.unit.labs.frames import ACK, FIN, PSH, RST, SYN, ethernet, icmp, tcp, udp

POD, WEB = "10.244.1.2", "10.244.2.3"
POD6, WEB6 = "fd00:10:244:1::2", "fd00:10:244:2::3"


def said(frame: bytes) -> Packet:
    packet = decode(0.0, frame)
    assert packet is not None
    return packet


@pytest.mark.parametrize(("source", "target"), [(POD, WEB), (POD6, WEB6)], ids=["IPv4", "IPv6"])
def test_tcp_has_both_ends_flags_and_payload(source: str, target: str) -> None:
    packet = said(tcp(source, 42880, target, 8080, PSH | ACK, b"GET /"))
    assert packet == Packet(
        0.0, Endpoint(source, 42880), Endpoint(target, 8080), "tcp", "PSH,ACK", b"GET /", sequence=1
    )


@pytest.mark.parametrize(("source", "target"), [(POD, WEB), (POD6, WEB6)], ids=["IPv4", "IPv6"])
def test_udp_has_both_ends_and_payload(source: str, target: str) -> None:
    assert said(udp(source, 5353, target, 53, b"query")) == Packet(
        0.0, Endpoint(source, 5353), Endpoint(target, 53), "udp", "", b"query"
    )


@pytest.mark.parametrize(
    ("flags", "shown"),
    [(SYN, "SYN"), (SYN | ACK, "SYN,ACK"), (ACK, "ACK"), (FIN | ACK, "FIN,ACK"), (RST | ACK, "RST,ACK"), (RST, "RST")],
)
def test_tcp_flags_read_as_words(flags: int, shown: str) -> None:
    assert said(tcp(POD, 1, WEB, 2, flags)).note == shown


@pytest.mark.parametrize(
    ("frame", "shown"),
    [
        (icmp(WEB, POD, 3, 0), "net unreachable"),
        (icmp(WEB, POD, 3, 3), "port unreachable"),
        (icmp(WEB6, POD6, 1, 0), "no route"),
        (icmp(WEB6, POD6, 1, 4), "port unreachable"),
        (icmp(WEB, POD, 42, 7), "type 42 code 7"),
    ],
)
def test_icmp_says_what_it_means_and_has_no_ports(frame: bytes, shown: str) -> None:
    packet = said(frame)
    assert (packet.protocol, packet.note, packet.source.port) == ("icmp", shown, None)


def test_padding_of_a_short_frame_is_no_payload() -> None:
    assert said(tcp(POD, 1, WEB, 2, SYN) + bytes(20)).size == 0


def test_a_vlan_tag_does_not_hide_the_packet() -> None:
    frame = tcp(POD, 1, WEB, 2, SYN)
    assert said(frame[:12] + b"\x81\x00\x00\x07" + frame[12:]).target == Endpoint(WEB, 2)


def test_ipv6_extension_headers_are_walked() -> None:
    frame = tcp(POD6, 1, WEB6, 2, SYN)
    header, ends, body = frame[14:22], frame[22:54], frame[54:]
    options = bytes([6, 1]) + bytes(14)  # hop-by-hop options of 16 bytes, then TCP
    longer = header[:4] + struct.pack("!H", len(body) + 16) + b"\x00" + header[7:]
    assert said(ethernet(0x86DD, longer + ends + options + body)).target == Endpoint(WEB6, 2)


def test_a_later_fragment_still_shows_its_addresses() -> None:
    frame = bytearray(udp(POD, 1, WEB, 2, b"x" * 8))
    frame[20:22] = struct.pack("!H", 185)  # offset 1480 bytes
    packet = said(bytes(frame))
    assert packet.target == Endpoint(WEB)
    assert packet.involves(Endpoint(WEB))


@pytest.mark.parametrize(
    "frame",
    [b"", bytes(10), ethernet(0x0806, bytes(28)), tcp(POD, 1, WEB, 2, SYN)[:30], tcp(POD6, 1, WEB6, 2, SYN)[:60]],
    ids=["empty", "no Ethernet header", "ARP", "cut in the IPv4 header", "cut in the TCP header"],
)
def test_what_holds_no_whole_packet_is_none(frame: bytes) -> None:
    assert decode(0.0, frame) is None


@pytest.mark.parametrize(("source", "target"), [(POD, WEB), (POD6, WEB6)], ids=["IPv4", "IPv6"])
def test_a_frame_of_a_tunnel_interface_is_a_bare_packet(source: str, target: str) -> None:
    frame = tcp(source, 42880, target, 8080, SYN)
    assert decode(0.0, frame[14:], RAW) == decode(0.0, frame)


W1, W2 = "172.18.0.3", "172.18.0.4"
INSIDE = tcp(POD, 4142, WEB, 8080, SYN)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(udp(W1, 8285, W2, 8285, INSIDE[14:]), id="flannel's UDP backend"),
        pytest.param(udp(W1, 51000, W2, 8472, b"\x08" + bytes(7) + INSIDE), id="VXLAN on Linux's port"),
        pytest.param(udp(W1, 51000, W2, 4789, b"\x08" + bytes(7) + INSIDE), id="VXLAN on the assigned port"),
    ],
)
def test_a_packet_that_carries_another_one_has_it_inside(frame: bytes) -> None:
    packet = said(frame)
    assert (packet.source.address, packet.target.address) == (W1, W2)
    assert packet.inner == decode(0.0, INSIDE)
    assert said(udp(W1, 51000, W2, 53, INSIDE)).inner is None


def test_an_endpoint_without_port_covers_every_port_of_its_address() -> None:
    assert Endpoint(WEB).covers(Endpoint(WEB, 80))
    assert Endpoint(WEB, 80).covers(Endpoint(WEB, 80))
    assert not Endpoint(WEB, 80).covers(Endpoint(WEB, 81))
    assert not Endpoint(WEB, 80).covers(Endpoint(POD, 80))


def test_an_ipv6_endpoint_is_written_with_brackets() -> None:
    assert str(Endpoint(WEB6, 80)) == f"[{WEB6}]:80"


def test_packets_in_packets_are_read_four_deep_however_many_there_are() -> None:
    """A frame has room for 2300 of flannel's; each took five calls."""
    frame = said_bytes = tcp("10.0.0.1", 1, "10.0.0.2", 2, SYN)
    while len(said_bytes) < 65_000:
        frame, said_bytes = said_bytes, udp(W1, 5000, W2, 8285, said_bytes[14:])
    found, depth = decode(0.0, frame), 0
    while found:
        found, depth = found.inner, depth + 1
    assert depth == NESTED
