"""Bytes and checksums: what is translated arrives whole, whoever makes the checksum."""

from __future__ import annotations

import array
import contextlib
import fcntl
import socket
import struct
import sys
from collections.abc import Iterator

import pytest

from socklb.model import ANY4, ANY6, Backend, Frontend, Serving, pack_address
from tests.packets.network import NODE, NODE6, PODS, PODS6, Network
from tests.tc.translation.conftest import Ask, Node, names, serving

SIZE = 4 << 20
SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17
PEERS = ("client", "a", "far")
# Sends back as many bytes as it gets, upside down.
BULK_SERVER = f"""
import socket, sys
server = socket.create_server((sys.argv[1], 8081), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    with connection, connection.makefile("rb") as file:
        connection.sendall(file.read({SIZE})[::-1])
"""
BULK_CLIENT = f"""
import os, socket, sys
sent = os.urandom({SIZE})
with socket.create_connection((sys.argv[1], 32001), 20) as client, client.makefile("rb") as file:
    client.sendall(sent)
    print(file.read({SIZE})[::-1] == sent)
"""


@contextlib.contextmanager
def checksums_made_in_software(network: Network) -> Iterator[None]:
    """Have the ends make whole checksums, which then everybody on the way and at the end can see to be right."""
    for place in PEERS:
        _offload(network, place, on=False)
    yield
    for place in PEERS:
        _offload(network, place, on=True)


def _offload(network: Network, place: str, *, on: bool) -> None:
    value = array.array("B", struct.pack("II", ETHTOOL_STXCSUM, on))
    with network.inside(place), socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCETHTOOL, struct.pack("16sP8x", b"eth0", value.buffer_info()[0]))


def wrong_checksums(network: Network) -> int:
    """Count packets that were thrown away by the ends."""
    found = 0
    for place in (*PEERS, "node"):
        lines = [line.split() for line in network.output(place, "cat", "/proc/net/snmp").splitlines()]
        for titles, values in zip(lines[::2], lines[1::2], strict=True):
            found += sum(int(v) for title, v in zip(titles, values, strict=True) if title == "InCsumErrors")
        six = [line.split() for line in network.output(place, "cat", "/proc/net/snmp6").splitlines()]
        found += sum(int(value) for title, value in six if title.endswith("InCsumErrors"))
    return found


@pytest.mark.parametrize("address", [NODE, NODE6])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
@pytest.mark.parametrize("pod", ["a", "far"])
def test_checksums_are_right_where_everybody_looks_at_them(
    node: Node, ask: Ask, network: Network, address: str, kind: str, pod: str
) -> None:
    protocol = socket.IPPROTO_TCP if kind == "tcp" else socket.IPPROTO_UDP
    anywhere = ANY6 if ":" in address else ANY4
    node.sync(
        {Frontend(anywhere, 32000, protocol): serving(pod, six=":" in address), Frontend(anywhere, 32002, 6): serving()}
    )
    before = wrong_checksums(network)
    with checksums_made_in_software(network):
        assert names(ask("client", address, 32000, kind, 5)) == {pod}
        assert ask("client", address, 32002) == ["ECONNREFUSED"]
    assert wrong_checksums(network) == before


@pytest.mark.parametrize("address", [NODE, NODE6])
@pytest.mark.parametrize("pod", ["a", "far"])
@pytest.mark.parametrize("offload", [True, False])
def test_four_megabytes_each_way_arrive_whole(
    node: Node, network: Network, address: str, pod: str, offload: bool
) -> None:
    six = ":" in address
    where = (PODS6 if six else PODS)[pod]
    server = network.start(pod, sys.executable, "-c", BULK_SERVER, where, ready="ready")
    node.sync({Frontend(ANY6 if six else ANY4, 32001, 6): Serving((Backend(pack_address(where), 8081),))})
    before = wrong_checksums(network)
    with contextlib.nullcontext() if offload else checksums_made_in_software(network):
        assert network.output("client", sys.executable, "-c", BULK_CLIENT, address) == "True"
    assert wrong_checksums(network) == before
    server.kill()
