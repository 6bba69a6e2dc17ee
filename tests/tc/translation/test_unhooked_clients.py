"""Sockets that no hook sees: of pods, whose devices get programs, and of the node."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

from socklb.model import ANY4, ANY6, Backend, Frontend, Serving, address_text, pack_address
from tests.packets.network import NODE, NODE6, PODS, PODS6, Network
from tests.packets.programs import SERVER
from tests.tc.translation.conftest import Ask, Node, frontend, names, serving

TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
SERVICE, SERVICE6 = "10.96.0.10", "fd00:10:96::a"
KINDS = pytest.mark.parametrize(("kind", "protocol"), [("tcp", TCP), ("udp", UDP)])
ADDRESSES = pytest.mark.parametrize("address", [SERVICE, SERVICE6])


@pytest.fixture
def pods(node: Node) -> Iterator[None]:
    """Programs at the pods' devices, as the agent puts them there when it hears of such a pod."""
    for device in ("a", "b"):
        node.attach(device, "pod")
    yield
    for device in ("a", "b"):
        node.detach(device)


@pytest.mark.usefixtures("pods")
@KINDS
@ADDRESSES
def test_a_pod_is_served_by_every_backend_itself_included(
    node: Node, ask: Ask, address: str, kind: str, protocol: int
) -> None:
    node.sync({frontend(address, 80, protocol): serving("a", "b", "far", six=":" in address)})
    assert names(ask("a", address, 80, kind, 40)) == {"a", "b", "far"}


@pytest.mark.usefixtures("pods")
@KINDS
@ADDRESSES
def test_a_pod_that_is_its_own_backend_sees_the_node(
    node: Node, ask: Ask, address: str, kind: str, protocol: int
) -> None:
    """A server that is hooked answers to the Service's address with a port that no Service has: it would be refused."""
    six = ":" in address
    node.sync({frontend(address, 80, protocol): serving("a", six=six)})
    node.say_who_stands_in(NODE, NODE6)
    try:
        assert ask("a", address, 80, kind, 3) == [f"a {NODE6 if six else NODE}"] * 3
    finally:
        node.say_who_stands_in()


@pytest.mark.usefixtures("pods")
@KINDS
@ADDRESSES
def test_what_a_pod_forwards_for_a_machine_behind_it_is_masqueraded_where_it_leaves(
    node: Node, ask: Ask, address: str, kind: str, protocol: int
) -> None:
    """Only this node has a way to that machine: a pod of this node answers it as it is."""
    six, via = ":" in address, PODS6["a"] if ":" in address else PODS["a"]
    behind = "fd00:192:168:77::2" if six else "192.168.77.2"
    route = ["ip", "route", "add", address, "via", "fd00:10:244:1::1" if six else "10.244.1.1", "src", behind]
    node.network.run("a", "ip", "address", "add", behind, "dev", "lo")
    node.network.run("a", *route)
    node.network.run("node", "ip", "route", "add", behind, "via", via)
    try:
        for pod, seen in (("far", NODE6 if six else NODE), ("b", behind)):
            node.sync({frontend(address, 80, protocol): serving(pod, six=six)})
            assert ask("a", address, 80, kind, 3) == [f"{pod} {seen}"] * 3
    finally:
        node.network.run("node", "ip", "route", "delete", behind)
        node.network.run("a", *route[:2], "delete", *route[3:])
        node.network.run("a", "ip", "address", "delete", behind, "dev", "lo")


@pytest.mark.usefixtures("pods")
@ADDRESSES
def test_a_pod_keeps_its_address_wherever_its_answer_comes_back(node: Node, ask: Ask, address: str) -> None:
    six = ":" in address
    for pod in ("b", "far"):
        node.sync({frontend(address): serving(pod, six=six)})
        assert ask("a", address) == [f"{pod} {(PODS6 if six else PODS)['a']}"]


@pytest.mark.usefixtures("pods")
@KINDS
@pytest.mark.parametrize(("address", "anywhere"), [(NODE, ANY4), (NODE6, ANY6)])
def test_a_pod_reaches_a_node_port(
    node: Node, ask: Ask, address: str, anywhere: bytes, kind: str, protocol: int
) -> None:
    node.sync({Frontend(anywhere, 32000, protocol): serving("a", "b", "far", six=":" in address)})
    assert names(ask("a", address, 32000, kind, 40)) == {"a", "b", "far"}


@pytest.mark.usefixtures("pods")
@KINDS
@pytest.mark.parametrize("address", [SERVICE, SERVICE6, "10.96.9.9", "fd00:10:96::99"])
def test_a_pod_is_refused(node: Node, ask: Ask, address: str, kind: str, protocol: int) -> None:
    node.sync({frontend(SERVICE, 80, protocol): serving(), frontend(SERVICE6, 80, protocol): serving()})
    assert ask("a", address, 80, kind) == ["ECONNREFUSED"]


@pytest.mark.usefixtures("pods")
def test_plain_traffic_between_pods_has_no_flow(node: Node, ask: Ask) -> None:
    node.sync({frontend(SERVICE): serving("b")})
    assert ask("a", PODS["b"], 8080) == [f"b {PODS['a']}"]
    assert node.flows() == []


@pytest.mark.usefixtures("pods")
@KINDS
@ADDRESSES
def test_one_port_of_a_pod_talks_to_a_service_and_to_its_backend(
    node: Node, ask: Ask, address: str, kind: str, protocol: int
) -> None:
    """To the backend both are the same, but for the port that the second is given."""
    six = ":" in address
    pod, backend = ((PODS6 if six else PODS)[name] for name in ("a", "b"))
    node.sync({frontend(address, 80, protocol): serving("b", six=six)})
    assert ask("a", address, 80, kind, own=7005) == [f"b {pod}"]
    assert ask("a", backend, 8080, kind, own=7005) == [f"b {pod}"]


@pytest.mark.parametrize("address", [SERVICE, SERVICE6, "192.0.2.1", "2001:db8::1"])
def test_the_agent_hears_of_a_pod_that_no_hook_sees(node: Node, ask: Ask, address: str) -> None:
    six = ":" in address
    node.sync({frontend(address): serving("b", six=six)})
    assert ask("a", address) == ["TIMEOUT"]
    assert (PODS6 if six else PODS)["a"] in node.unhooked()


@KINDS
@ADDRESSES
def test_a_process_of_the_node_reaches_a_backend_elsewhere(
    node: Node, ask: Ask, address: str, kind: str, protocol: int
) -> None:
    node.sync({frontend(address, 80, protocol): serving("far", six=":" in address)})
    assert names(ask("node", address, 80, kind, 5)) == {"far"}


def refusals(node: Node) -> tuple[int, int]:
    """How many segments the node's own stack reset, and how many datagrams found no socket there."""
    counts = dict(line.split()[:2] for line in node.network.output("node", "nstat", "-asz").splitlines()[1:])
    return int(counts["TcpOutRsts"]), int(counts["UdpNoPorts"])


@KINDS
def test_a_process_of_the_node_asks_a_backend_here_when_the_answers_can_be_seen(
    node: Node, ask: Ask, kind: str, protocol: int
) -> None:
    """An answer that no program sees would be nobody's to the node, which would reset the connection."""
    node.sync({frontend(SERVICE, 80, protocol): serving("b")})
    node.unhooked()
    before = refusals(node)
    assert ask("node", SERVICE, 80, kind) == ["TIMEOUT"]
    assert {event.ifindex for event in node.events.read()} == {node.index_of("cni0")}
    assert refusals(node) == before
    assert node.flows() == []


@KINDS
@ADDRESSES
def test_a_process_of_the_node_reaches_a_backend_here(
    node: Node, ask: Ask, address: str, kind: str, protocol: int
) -> None:
    node.sync({frontend(address, 80, protocol): serving("b", six=":" in address)})
    with node.pods_at("cni0"):
        assert names(ask("node", address, 80, kind, 5)) == {"b"}


@KINDS
def test_a_process_of_the_node_is_known_elsewhere_by_the_uplinks_address(
    node: Node, ask: Ask, network: Network, kind: str, protocol: int
) -> None:
    """The route to the Service has given it another one, to which no answer would come."""
    own, via = "10.98.0.1", ["10.96.0.0/16", "via", "172.31.0.9"]
    node.sync({frontend(SERVICE, 80, protocol): serving("far")})
    network.run("node", "ip", "address", "add", own, "dev", "lo")
    try:
        network.run("node", "ip", "route", "replace", *via, "src", own)
        assert ask("node", SERVICE, 80, kind, 3) == [f"far {NODE}"] * 3
        assert {address_text(flow.client) for flow in node.flows()} == {own}
    finally:
        network.run("node", "ip", "route", "replace", *via)
        network.run("node", "ip", "address", "delete", f"{own}/32", "dev", "lo")


@pytest.fixture(scope="module")
def server_of_the_node(network: Network) -> None:
    network.start("node", sys.executable, "-c", SERVER, "node", NODE, NODE6, ready="ready")


@pytest.mark.usefixtures("server_of_the_node")
@KINDS
@pytest.mark.parametrize(("address", "here"), [(SERVICE, NODE), (SERVICE6, NODE6)])
def test_a_process_of_the_node_reaches_a_server_of_the_node(
    node: Node, ask: Ask, address: str, here: str, kind: str, protocol: int
) -> None:
    """Which sees the Service ask: an answer to the node itself would never leave."""
    node.sync({frontend(address, 80, protocol): Serving((Backend(pack_address(here), 8080),))})
    assert ask("node", address, 80, kind, 3) == [f"node {address}"] * 3
    assert len(node.flows()) == 3
    assert len(node.index()) == 6


@pytest.fixture
def by_lo(node: Node) -> Iterator[None]:
    """As the agent has it where processes are out of the hooks' sight."""
    with node.node_at_lo():
        yield


@pytest.mark.usefixtures("server_of_the_node", "by_lo")
@KINDS
@pytest.mark.parametrize(("address", "here"), [(SERVICE, NODE), (SERVICE6, NODE6)])
def test_with_lo_a_server_of_the_node_sees_the_process_that_asks(
    node: Node, ask: Ask, address: str, here: str, kind: str, protocol: int
) -> None:
    """And so can answer if it is hooked: nobody serves the port of a Service that it would answer to."""
    node.sync({frontend(address, 80, protocol): Serving((Backend(pack_address(here), 8080),))})
    assert ask("node", address, 80, kind, 3) == [f"node {here}"] * 3


@KINDS
@pytest.mark.parametrize("here", [NODE, NODE6])
def test_without_lo_the_nodes_own_address_is_asked_as_it_is(
    node: Node, ask: Ask, here: str, kind: str, protocol: int
) -> None:
    node.sync({Frontend(ANY6 if ":" in here else ANY4, 32000, protocol): serving("far", six=":" in here)})
    assert ask("node", here, 32000, kind) == ["ECONNREFUSED"]


@pytest.mark.usefixtures("server_of_the_node", "by_lo")
@KINDS
@pytest.mark.parametrize("here", [NODE, NODE6])
@pytest.mark.parametrize("exact", [False, True], ids=["a NodePort", "an external address"])
def test_with_lo_a_process_of_the_node_is_served_at_the_nodes_own_address(
    node: Node, ask: Ask, here: str, kind: str, protocol: int, *, exact: bool
) -> None:
    six = ":" in here
    anywhere = ANY6 if six else ANY4
    asked = Frontend(pack_address(here) if exact else anywhere, 32000, protocol)
    its_own = Backend(pack_address(here), 8080)
    node.sync({asked: Serving((*serving("b", "far", six=six).backends, its_own))})
    with node.pods_at("cni0"):
        answers = ask("node", here, 32000, kind, 40)
    assert set(answers) == {f"b {here}", f"far {here}", f"node {here}"}


@pytest.mark.usefixtures("by_lo")
@KINDS
@pytest.mark.parametrize("here", [NODE, NODE6])
def test_with_lo_a_process_of_the_node_is_refused_at_its_own_address(
    node: Node, ask: Ask, here: str, kind: str, protocol: int
) -> None:
    node.sync({Frontend(ANY6 if ":" in here else ANY4, 32000, protocol): serving()})
    assert ask("node", here, 32000, kind) == ["ECONNREFUSED"]
    assert node.counters()["refused"] > 0


@pytest.mark.usefixtures("server_of_the_node", "by_lo")
@KINDS
@pytest.mark.parametrize("here", [NODE, NODE6])
def test_with_lo_what_is_nobodys_passes(node: Node, ask: Ask, here: str, kind: str, protocol: int) -> None:
    node.sync({Frontend(ANY6 if ":" in here else ANY4, 32000, protocol): serving("far", six=":" in here)})
    assert ask("node", here, 8080, kind) == [f"node {here}"]
    assert node.flows() == []


@KINDS
@ADDRESSES
def test_a_process_of_the_node_is_refused(node: Node, ask: Ask, address: str, kind: str, protocol: int) -> None:
    node.sync({frontend(address, 80, protocol): serving()})
    assert ask("node", address, 80, kind) == ["ECONNREFUSED"]
