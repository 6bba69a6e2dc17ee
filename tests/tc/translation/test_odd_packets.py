"""ICMP errors, which quote packets, and fragments, which lack ports: each finds its flow."""

from __future__ import annotations

import socket
import sys

import pytest

from socklb.model import ANY4, ANY6, Backend, Frontend, Serving, pack_address
from tests.packets.network import CLIENT, CLIENT6, NODE, NODE6, OTHER_NODE, PODS, PODS6, Network
from tests.support.waiting import until
from tests.tc.translation.conftest import Ask, Node
from tests.tc.translation.test_on_the_wire import BULK_CLIENT, BULK_SERVER, checksums_made_in_software, wrong_checksums

TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
ADDRESSES = pytest.mark.parametrize("address", [NODE, NODE6])
PLACES = pytest.mark.parametrize("pod", ["a", "far"])
LARGE_SERVER = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
server = socket.socket(family, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 8082))
print("ready", flush=True)
while True:
    data, client = server.recvfrom(65536)
    server.sendto(data[::-1], client)
"""
LARGE_CLIENT = """
import os, socket, sys
sent = os.urandom(int(sys.argv[2]))
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as client:
    client.settimeout(5)
    client.connect((sys.argv[1], 32002))
    client.send(sent)
    print(client.recv(65536)[::-1] == sent)
"""


def here(pod: str, address: str) -> str:
    return (PODS6 if ":" in address else PODS)[pod]


def node_port(address: str, port: int, protocol: int) -> Frontend:
    return Frontend(ANY6 if ":" in address else ANY4, port, protocol)


@PLACES
@ADDRESSES
def test_a_backend_that_does_not_listen_refuses_datagrams_itself(
    node: Node, ask: Ask, network: Network, address: str, pod: str
) -> None:
    backend = Backend(pack_address(here(pod, address)), 9)
    node.sync({node_port(address, 32000, UDP): Serving((backend,))})
    before = wrong_checksums(network)
    with checksums_made_in_software(network):
        # On a busy machine an ICMP message may get lost.
        until(lambda: ask("client", address, 32000, "udp") == ["ECONNREFUSED"])
    assert wrong_checksums(network) == before


@pytest.mark.parametrize("address", [CLIENT, CLIENT6])
def test_what_the_world_refuses_reaches_the_pod(node: Node, ask: Ask, address: str) -> None:
    node.sync({})
    assert ask("a", address, 9, "udp") == ["ECONNREFUSED"]


@ADDRESSES
def test_the_client_learns_of_a_narrow_way_behind_the_node(node: Node, network: Network, address: str) -> None:
    """The node's own "fragmentation needed" quotes what it has made of the packet."""
    six = ":" in address
    server = network.start("far", sys.executable, "-c", BULK_SERVER, here("far", address), ready="ready")
    node.sync({node_port(address, 32001, TCP): Serving((Backend(pack_address(here("far", address)), 8081),))})
    way = ["fd00:10:244:2::/64", "via", "fd00:31::3"] if six else ["10.244.2.0/24", "via", OTHER_NODE]
    try:
        network.run("node", "ip", *(["-6"] if six else []), "route", "change", *way, "mtu", "1300")
        assert network.output("client", sys.executable, "-c", BULK_CLIENT, address) == "True"
        found = network.output("client", "ip", "route", "get", address)
        assert "mtu 1300" in found
    finally:
        network.run("node", "ip", *(["-6"] if six else []), "route", "change", *way)
        network.run("client", "ip", *(["-6"] if six else []), "route", "flush", "cache")
        server.kill()


@pytest.mark.parametrize("size", [2000, 9000])
@PLACES
@ADDRESSES
def test_a_datagram_in_fragments_arrives_and_is_answered(
    node: Node, network: Network, address: str, pod: str, size: int
) -> None:
    server = network.start(pod, sys.executable, "-c", LARGE_SERVER, here(pod, address), ready="ready")
    node.sync({node_port(address, 32002, UDP): Serving((Backend(pack_address(here(pod, address)), 8082),))})
    assert network.output("client", sys.executable, "-c", LARGE_CLIENT, address, str(size)) == "True"
    assert len(node.flows()) == 1
    server.kill()
