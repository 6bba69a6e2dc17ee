"""ICMP errors from who got the translated packet: they go to who sent it, and quote it as that one knows it."""

from __future__ import annotations

import struct

import pytest

from socklb.model import Serving
from tests.packets.network import CLIENT, CLIENT6, PODS, PODS6
from tests.tc.translation.conftest import Node, backends, frontend
from tests.tc.translation.naive import MACS, TCP, Packet, build, checksum, run
from tests.tc.translation.test_any_packet import EXTERNAL, EXTERNAL6, LEAVE, SYN, raw

ICMP, ICMP6 = 1, 58
PORT_UNREACHABLE = {ICMP: (3, 3), ICMP6: (1, 4)}
QUOTED = 8  # bytes behind the headers of what is quoted: the ports, and no checksum


def error(about: Packet) -> bytes:
    """Return the frame of what the receiver of a packet sends back."""
    six = len(about.source) == 16
    headers = (40 if six else 20) + len(about.options)
    quoted = build(about)[14 : 14 + headers + QUOTED]
    protocol = ICMP6 if six else ICMP
    message = struct.pack("!BBHI", *PORT_UNREACHABLE[protocol], 0, 0) + quoted
    pseudo = about.destination + about.source + struct.pack("!II", len(message), protocol) if six else b""
    message = message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]
    ends = about.destination + about.source
    if six:
        return MACS + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(message), ICMP6, 64) + ends + message
    head = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(message), 1, 0, 64, ICMP)
    return MACS + b"\x08\x00" + head + struct.pack("!H", checksum(head + bytes(2) + ends)) + ends + message


@pytest.mark.parametrize("options", [0, 8, 40])
@pytest.mark.parametrize("service", [EXTERNAL, EXTERNAL6])
def test_an_error_quotes_what_the_client_sent(node: Node, service: str, options: int) -> None:
    """Options of IPv4 and extension headers of IPv6 stand before the ports that are looked for."""
    six = ":" in service
    node.sync({frontend(service): Serving(backends("a", six=six))})
    client, pod = raw(CLIENT6 if six else CLIENT), raw((PODS6 if six else PODS)["a"])
    sent = Packet(client, raw(service), TCP, 2000, 80, SYN, options=b"\x01" * options)
    arrived = sent._replace(destination=pod, destination_port=8080)
    with node.network.inside("node"):
        device = node.index_of("eth0")
        assert run(node.programs.fd("uplink_in"), build(sent), device) == (LEAVE, build(arrived))
        assert run(node.programs.fd("uplink_out"), error(arrived), device) == (LEAVE, error(sent))
