"""Uplinks without an Ethernet header, as WireGuard and IP tunnels are: tun stands for them."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from socklb.datapath import layout, libbpf
from socklb.datapath.maps import HashTable
from socklb.model import ANY4, ANY6, Addresses, Frontend, pack_address
from socklb.tc import layout as tc
from socklb.tc.places import L3
from socklb.tc.programs import Programs
from tests.packets.network import NODE, NODE6, PODS, PODS6, Network
from tests.packets.programs import SERVER
from tests.tc.translation.conftest import MAX_FLOWS, Ask, Node, frontend, serving
from tests.tc.translation.test_on_the_wire import wrong_checksums
from tests.tc.translation.tunnel import DEVICE, TUNNEL, tunnelled

TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
CLIENT, OWN = TUNNEL["client"], TUNNEL["node"]
FAMILIES = pytest.mark.parametrize("six", [False, True], ids=["v4", "v6"])
KINDS = pytest.mark.parametrize(("kind", "protocol"), [("tcp", TCP), ("udp", UDP)])
BEYOND = ("198.51.100.1", "2001:db8:9::1")  # Services that the node's own packets to leave by the tunnel
ADDRESSES = Addresses(
    services=frozenset(map(pack_address, BEYOND)),
    nodes=frozenset(map(pack_address, OWN)),
    own=frozenset(map(pack_address, (NODE, NODE6, *OWN))),
)


@pytest.fixture(scope="module", autouse=True)
def _tunnel(loaded: Node, network: Network, objects: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    programs = Programs.load(objects, loaded.maps, loaded.maps, MAX_FLOWS, l3=True)
    with closing(programs), tunnelled(network), closing(uplinks(loaded)) as table:
        network.run("node", "tc", "qdisc", "add", "dev", DEVICE, "clsact")
        for way, hook in (("in", "ingress"), ("out", "egress")):
            pin = loaded.maps.parent / "programs" / f"uplink_{way}{L3}"
            libbpf.pin(programs.fd(pin.name), pin)
            words = ("filter", "add", "dev", DEVICE, hook, "bpf", "da", "object-pinned", str(pin))
            network.run("node", "tc", *words)
        index = layout.ROW_INDEX.pack(loaded.index_of(DEVICE))
        loaded.put("uplinks", (index, tc.UPLINK.pack(*map(pack_address, OWN))))
        network.start("client", sys.executable, "-c", SERVER, "client", *CLIENT, ready="ready")
        for address in BEYOND:
            network.run("node", "ip", "route", "add", address, "dev", DEVICE)
        yield
        table.delete([index])


def uplinks(node: Node) -> HashTable:
    return HashTable(node.maps, "uplinks", tc.IFINDEX.size, tc.UPLINK.size)


@pytest.fixture(autouse=True)
def _right_checksums(network: Network) -> Iterator[None]:
    before = wrong_checksums(network)
    yield
    assert wrong_checksums(network) == before


@KINDS
@FAMILIES
def test_a_node_port_is_served(node: Node, ask: Ask, six: bool, kind: str, protocol: int) -> None:
    anywhere = ANY6 if six else ANY4
    node.sync({Frontend(anywhere, 32000, protocol): serving("a", "far", six=six)}, ADDRESSES)
    answers = ask("client", OWN[six], 32000, kind, 30)
    assert set(answers) == {f"a {CLIENT[six]}", f"far {NODE6 if six else NODE}"}


@KINDS
@FAMILIES
def test_without_endpoints_it_is_refused(node: Node, ask: Ask, six: bool, kind: str, protocol: int) -> None:
    node.sync({Frontend(ANY6 if six else ANY4, 32000, protocol): serving()}, ADDRESSES)
    assert ask("client", OWN[six], 32000, kind) == ["ECONNREFUSED"]


@KINDS
@FAMILIES
def test_the_world_behind_it_sees_the_node(node: Node, ask: Ask, six: bool, kind: str, protocol: int) -> None:
    node.sync({}, ADDRESSES)
    assert ask("a", CLIENT[six], 8080, kind, 3) == [f"client {OWN[six]}"] * 3


@FAMILIES
def test_the_world_behind_it_refuses_datagrams_itself(node: Node, ask: Ask, six: bool) -> None:
    node.sync({}, ADDRESSES)
    assert ask("a", CLIENT[six], 9, "udp") == ["ECONNREFUSED"]


@KINDS
@FAMILIES
def test_a_process_of_the_node_is_served_here_and_elsewhere(
    node: Node, ask: Ask, six: bool, kind: str, protocol: int
) -> None:
    """Elsewhere with the address by which the node is reached from there."""
    node.sync({frontend(BEYOND[six], 80, protocol): serving("b", "far", six=six)}, ADDRESSES)
    with node.pods_at("cni0"):
        answers = ask("node", BEYOND[six], 80, kind, 20)
    assert set(answers) == {f"b {OWN[six]}", f"far {(NODE, NODE6)[six]}"}


@KINDS
@FAMILIES
def test_a_process_of_the_node_is_refused(node: Node, ask: Ask, six: bool, kind: str, protocol: int) -> None:
    node.sync({frontend(BEYOND[six], 80, protocol): serving()}, ADDRESSES)
    assert ask("node", BEYOND[six], 80, kind) == ["ECONNREFUSED"]


@FAMILIES
def test_a_pod_that_no_hook_sees_is_told_of(node: Node, ask: Ask, six: bool) -> None:
    node.sync({frontend(BEYOND[six]): serving("b", six=six)}, ADDRESSES)
    node.unhooked()
    assert ask("a", BEYOND[six]) == ["TIMEOUT"]
    assert (PODS6 if six else PODS)["a"] in node.unhooked()
