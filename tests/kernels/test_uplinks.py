"""The packet path at uplinks of kinds that not every kernel has: for `make kernels`, whose kernels have them all."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest

from rig.sandbox import mounted_bpffs
from socklb.model import ANY4, ANY6, Addresses, Frontend, pack_address
from socklb.tc import links, rtnetlink
from socklb.tc.attached import WRAPPED
from socklb.tc.rtnetlink import unpacks
from tests.kernels.uplinks import KINDS, VLAN, Bond, IpInIp, Switched, Tunnelled, Vlan, VlanOfBond, WireGuard
from tests.packets.conftest import Ask, Node, serving, wait_until
from tests.packets.network import CLIENT, CLIENT6, NODE, NODE6, OTHER_NODE, Network, with_servers
from tests.packets.programs import SERVER, asking

FAMILIES = pytest.mark.parametrize("six", [False, True], ids=["v4", "v6"])
ASKED = pytest.mark.parametrize(
    ("kind", "protocol", "six"),
    [("tcp", socket.IPPROTO_TCP, False), ("udp", socket.IPPROTO_UDP, True)],
    ids=["v4-tcp", "v6-udp"],  # both families and both protocols: an emulated CPU is slow
)
Place = Switched | Tunnelled


def kernel_has(kind: str) -> bool:
    """Whether devices of a kind can be made."""
    words = ["unshare", "--net", "ip", "link", "add", "name", "one", "type", kind]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    return "Unknown device type" not in said.stderr


def needs_unpacked_tunnels(kind: type[Switched]) -> None:
    if kind is IpInIp and not unpacks(os.uname().release):
        pytest.skip("tunnels that are unpacked at tc (Linux 5.14): without it ipip and sit are not served")


@pytest.fixture(scope="module", params=KINDS, ids=[kind.__name__ for kind in KINDS])
def network(request: pytest.FixtureRequest) -> Iterator[Place]:
    lacking = [kind for kind in request.param.kinds if not kernel_has(kind)]
    if lacking:
        pytest.skip(f"this kernel has no devices of kind {', '.join(lacking)}")
    needs_unpacked_tunnels(request.param)
    with with_servers(request.param) as place:
        place.start("client", sys.executable, "-c", SERVER, "client", *place.client, ready="ready")
        yield cast("Place", place)


@pytest.fixture(scope="module")
def node(network: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node")
    with mounted_bpffs(folder / "bpffs"):
        node = Node(network, folder)
        try:
            yield node
        finally:
            node.close()
            with network.inside("node"):
                links.remove(node.pins.tc_links)


@pytest.fixture(scope="module")
def ask(network: Place) -> Ask:
    def ask(place: str, address: str, port: int = 80, kind: str = "tcp", times: int = 1) -> list[str]:
        return network.output(place, *asking(address, port, kind, times)).splitlines()

    return ask


def serve(node: Node, network: Place, protocol: int, *pods: str, six: bool) -> None:
    """Serve NodePort 32000 alone."""
    own = frozenset(map(pack_address, (NODE, NODE6, *network.node)))
    addresses = Addresses(nodes=own | {pack_address(OTHER_NODE)}, own=own)
    node.sync({Frontend(ANY6 if six else ANY4, 32000, protocol): serving(*pods, six=six)}, addresses)


def test_each_uplink_has_programs_and_what_is_below_it_has_none(node: Node, network: Place) -> None:
    serve(node, network, socket.IPPROTO_TCP, "a", six=False)
    found = [device for device in node.facts.devices if not device.of_pods]
    assert {device.name for device in found} == {*network.uplinks}
    assert {device.trouble for device in found} == {""}


@ASKED
def test_a_node_port_is_served_by_pods_here_and_elsewhere(
    node: Node, network: Place, ask: Ask, kind: str, protocol: int, six: bool
) -> None:
    serve(node, network, protocol, "a", "far", six=six)
    before = node.facts.counters["flows_begun"]
    answers = ask("client", network.node[six], 32000, kind, 20)
    assert set(answers) == {f"a {network.client[six]}", f"far {network.seen_elsewhere[six]}"}
    assert node.facts.counters["flows_begun"] == before + 20, "nothing is translated twice"


@ASKED
def test_without_endpoints_it_is_refused(
    node: Node, network: Place, ask: Ask, kind: str, protocol: int, six: bool
) -> None:
    serve(node, network, protocol, six=six)
    assert ask("client", network.node[six], 32000, kind) == ["ECONNREFUSED"]


@ASKED
def test_the_world_sees_the_node_in_a_pods_place(
    node: Node, network: Place, ask: Ask, kind: str, protocol: int, six: bool
) -> None:
    serve(node, network, protocol, "a", six=six)
    assert ask("a", network.client[six], 8080, kind, 3) == [f"client {network.node[six]}"] * 3


@pytest.mark.parametrize("network", [Vlan, VlanOfBond], ids=["Vlan", "VlanOfBond"], indirect=True)
def test_what_is_translated_has_its_tag_on_the_wire(node: Node, network: Place, ask: Ask) -> None:
    serve(node, network, socket.IPPROTO_TCP, "a", six=False)
    words = ("-n", "-l", "-e", "-c", "2", "vlan", VLAN, "and", "tcp", "port", "32000")
    watch = network.start("switch", "tcpdump", "-i", "node1", *words, ready="listening on")
    assert ask("client", NODE, 32000) == [f"a {CLIENT}"]
    assert watch.stdout is not None
    seen = [line.decode() for line in watch.stdout if b"ethertype 802.1Q" in line]
    assert f"{NODE}.32000: Flags [S]" in seen[0]
    assert f"{NODE}.32000 > {CLIENT}" in seen[1]


@pytest.mark.parametrize("network", [Bond, VlanOfBond], ids=["Bond", "VlanOfBond"], indirect=True)
def test_a_flow_goes_on_when_the_bond_changes_to_its_other_port(node: Node, network: Place) -> None:
    serve(node, network, socket.IPPROTO_UDP, "far", six=False)

    def active() -> str:
        return network.output("node", "cat", "/sys/class/net/bond0/bonding/active_slave")

    def answers(client: socket.socket) -> bool:
        client.send(b"?")
        with suppress(TimeoutError):
            return client.recv(100).decode() == f"far {NODE}"
        return False

    with network.inside("client"):
        client = socket.socket(type=socket.SOCK_DGRAM)
    with client:
        client.settimeout(1)
        client.connect((NODE, 32000))
        assert answers(client)
        begun, first = node.facts.counters["flows_begun"], active()
        network.run("node", "ip", "link", "set", "dev", first, "down")
        try:
            wait_until(lambda: active() not in ("", first))
            wait_until(lambda: answers(client))
        finally:
            network.run("node", "ip", "link", "set", "dev", first, "up")
    assert node.facts.counters["flows_begun"] == begun
    assert node.facts.whole


@pytest.mark.parametrize("network", [WireGuard, IpInIp], ids=["WireGuard", "IpInIp"], indirect=True)
@FAMILIES
def test_a_client_that_is_behind_no_tunnel_reaches_a_pod_that_is(
    node: Node, network: Place, ask: Ask, six: bool
) -> None:
    serve(node, network, socket.IPPROTO_TCP, "a", "far", six=six)
    answers = ask("client", (NODE, NODE6)[six], 32000, "tcp", 20)
    assert set(answers) == {f"a {(CLIENT, CLIENT6)[six]}", f"far {network.node[six]}"}


def test_tunnels_that_an_older_kernel_leaves_wrapped_are_named(tmp_path: Path) -> None:
    if unpacks(os.uname().release):
        pytest.skip("what this kernel has (Linux 5.14): it unpacks them")
    with with_servers(IpInIp) as place, mounted_bpffs(tmp_path / "bpffs"):
        with place.inside("node"):
            kinds = {device.name: device.type for device in rtnetlink.read().devices}
        assert {kinds[name] for name in IpInIp.uplinks[1:]} == {rtnetlink.WRAPPED}
        node = Node(cast("Network", place), tmp_path)
        try:
            node.path.serve()
            wait_until(lambda: WRAPPED.format("ipip-client") in " ".join(one.message for one in node.path.problems))
        finally:
            node.close()
            with place.inside("node"):
                links.remove(node.pins.tc_links)
