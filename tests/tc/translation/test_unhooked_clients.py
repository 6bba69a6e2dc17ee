"""Sockets that no hook sees: of pods, whose devices get programs, and of the node."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from socklb.serving import ANY4, ANY6, Frontend
from tests.packets.network import NODE, NODE6, PODS, PODS6
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


def test_the_agent_hears_where_the_answers_to_a_process_of_the_node_come_from(node: Node, ask: Ask) -> None:
    node.sync({frontend(SERVICE): serving("b")})
    node.unhooked()
    ask("node", SERVICE)
    assert {event.ifindex for event in node.events.read()} == {node.index_of("cni0")}


@KINDS
@ADDRESSES
def test_a_process_of_the_node_reaches_a_backend_here(
    node: Node, ask: Ask, address: str, kind: str, protocol: int
) -> None:
    node.attach("cni0", "pod")
    try:
        node.sync({frontend(address, 80, protocol): serving("b", six=":" in address)})
        assert names(ask("node", address, 80, kind, 5)) == {"b"}
    finally:
        node.detach("cni0")


@KINDS
@ADDRESSES
def test_a_process_of_the_node_is_refused(node: Node, ask: Ask, address: str, kind: str, protocol: int) -> None:
    node.sync({frontend(address, 80, protocol): serving()})
    assert ask("node", address, 80, kind) == ["ECONNREFUSED"]
