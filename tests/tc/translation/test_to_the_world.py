"""Pods talk to the world with the node's address."""

from __future__ import annotations

import sys

import pytest

from socklb.model import Addresses
from tests.packets.network import CLIENT, CLIENT6, NODE, NODE6, PODS, PODS6, Network
from tests.packets.programs import SERVER
from tests.tc.translation.conftest import ADDRESSES, Ask, Node

FAMILIES = pytest.mark.parametrize(
    ("address", "node_address", "pod"), [(CLIENT, NODE, PODS["a"]), (CLIENT6, NODE6, PODS6["a"])]
)


@pytest.fixture(autouse=True, params=[ADDRESSES, Addresses()], ids=["known", "unknown"])
def own_addresses(request: pytest.FixtureRequest, node: Node) -> None:
    """An uplink may have addresses that the cluster does not know as the node's."""
    node.sync({}, request.param)


@pytest.fixture(scope="module")
def outside_server(network: Network) -> None:
    network.start("client", sys.executable, "-c", SERVER, "client", CLIENT, CLIENT6, ready="ready")


@pytest.mark.usefixtures("outside_server")
@pytest.mark.parametrize("kind", ["tcp", "udp"])
@FAMILIES
def test_the_world_sees_the_node(node: Node, ask: Ask, address: str, node_address: str, pod: str, kind: str) -> None:
    assert ask("a", address, 8080, kind, 3) == [f"client {node_address}"] * 3
    assert len(node.flows()) == 3


@pytest.mark.usefixtures("outside_server")
@FAMILIES
def test_two_pods_may_have_one_port(node: Node, ask: Ask, address: str, node_address: str, pod: str) -> None:
    for place in ("a", "b"):
        assert ask(place, address, 8080, "udp", own=7002) == [f"client {node_address}"]
    first, second = sorted(flow.ports[3] for flow in node.flows())
    assert 7002 in (first, second)
    assert first != second


@FAMILIES
def test_an_echo_comes_back(node: Node, network: Network, address: str, node_address: str, pod: str) -> None:
    for place in ("a", "b"):
        network.run(place, "ping", "-c", "2", "-i", "0.2", "-W", "2", address)
    assert len(node.flows()) == 2


@FAMILIES
def test_pods_of_other_nodes_see_the_pod(node: Node, ask: Ask, address: str, node_address: str, pod: str) -> None:
    there = PODS6["far"] if ":" in address else PODS["far"]
    assert ask("a", there, 8080) == [f"far {pod}"]
    assert node.flows() == []
