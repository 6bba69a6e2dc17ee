"""Services from outside the cluster, translated at the node's uplink by eBPF: real packets through real programs."""

from __future__ import annotations

import socket

import pytest

from socklb.model import ANY4, ANY6, Frontend
from tests.packets.network import CLIENT, CLIENT6, NODE, NODE6, PODS, PODS6
from tests.tc.translation.conftest import HAS_OUTSIDE, Ask, Node, backends, frontend, names, serving

TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
SERVICE, SERVICE6, EXTERNAL, EXTERNAL6 = "10.96.0.10", "fd00:10:96::a", "192.0.2.1", "2001:db8::1"
FAMILIES = pytest.mark.parametrize("address", [EXTERNAL, EXTERNAL6])
KINDS = pytest.mark.parametrize(("kind", "protocol"), [("tcp", TCP), ("udp", UDP)])


@KINDS
@pytest.mark.parametrize(("address", "anywhere", "own"), [(NODE, ANY4, CLIENT), (NODE6, ANY6, CLIENT6)])
def test_a_node_port_keeps_the_clients_address_for_a_pod_here_alone(
    node: Node, ask: Ask, address: str, anywhere: bytes, own: str, kind: str, protocol: int
) -> None:
    node.sync({Frontend(anywhere, 32000, protocol): serving("a", "far", six=":" in address)})
    answers = ask("client", address, 32000, kind, 40)
    assert set(answers) == {f"a {own}", f"far {address}"}


@KINDS
@FAMILIES
def test_an_external_address_is_served(node: Node, ask: Ask, address: str, kind: str, protocol: int) -> None:
    node.sync({frontend(address, 80, protocol): serving("b", "far", six=":" in address)})
    assert names(ask("client", address, 80, kind, 40)) == {"b", "far"}


@KINDS
@pytest.mark.parametrize("address", [NODE, NODE6, EXTERNAL, EXTERNAL6, SERVICE, SERVICE6])
def test_without_endpoints_it_is_refused(node: Node, ask: Ask, address: str, kind: str, protocol: int) -> None:
    asked = (
        Frontend(ANY6 if ":" in address else ANY4, 80, protocol)
        if address in (NODE, NODE6)
        else frontend(address, 80, protocol)
    )
    node.sync({asked: serving()})
    assert ask("client", address, 80, kind) == ["ECONNREFUSED"]


def test_clients_outside_are_served_as_before_while_there_is_no_second_row(node: Node, ask: Ask) -> None:
    """Flag and row are not written at one stroke, and the row may wait for room."""
    asked = Frontend(ANY4, 32000, TCP)
    node.sync({asked: serving("far")})
    node.flag(asked, HAS_OUTSIDE)
    assert names(ask("client", NODE, 32000)) == {"far"}


def test_a_connection_has_one_flow_and_ends_with_it(node: Node, ask: Ask) -> None:
    node.sync({Frontend(ANY4, 32000, TCP): serving("far")})
    ask("client", NODE, 32000, "tcp", 3)
    flows = node.flows()
    assert len(flows) == 3
    assert len(node.index()) == 12
    assert {flow.ports[3] in range(30000, 61000) for flow in flows} == {False}
    assert node.programs.sweep() == 0
    node.age(125)
    assert node.programs.sweep() == 3
    assert node.flows() == []
    assert node.index() == {}


@KINDS
@pytest.mark.parametrize("pod", ["a", "far"])
def test_two_services_with_one_backend_serve_one_port_of_a_client(
    node: Node, ask: Ask, pod: str, kind: str, protocol: int
) -> None:
    node.sync({frontend(EXTERNAL, 80, protocol): serving(pod), frontend(SERVICE, 80, protocol): serving(pod)})
    for address in (EXTERNAL, SERVICE):
        assert names(ask("client", address, 80, kind, own=7000)) == {pod}


@pytest.mark.parametrize("pods", [("a", "b"), ("far", "b")])
def test_datagrams_leave_an_endpoint_that_is_gone(node: Node, ask: Ask, pods: tuple[str, str]) -> None:
    asked = frontend(EXTERNAL, 80, UDP)
    for pod in pods:
        node.sync({asked: serving(pod)})
        assert names(ask("client", EXTERNAL, 80, "udp", own=7001)) == {pod}


def test_datagrams_leave_the_endpoint_of_a_service_that_was_deleted_and_made_anew(node: Node, ask: Ask) -> None:
    """No packet comes meanwhile: the flow still names the row that the Service had before."""
    asked = frontend(EXTERNAL, 80, UDP)
    for pod in ("a", "b"):
        node.sync({asked: serving(pod)})
        assert names(ask("client", EXTERNAL, 80, "udp", own=7001)) == {pod}
        node.sync({})


def test_datagrams_leave_an_endpoint_whose_row_another_one_got(node: Node, ask: Ask) -> None:
    """No packet came while the rows went round: nothing but what stands in the row tells the two apart."""
    asked = frontend(EXTERNAL, 80, UDP)
    node.sync({asked: serving("a")})
    assert names(ask("client", EXTERNAL, 80, "udp", own=7001)) == {"a"}
    node.fill_row_of(asked, *backends("b"))
    assert names(ask("client", EXTERNAL, 80, "udp", own=7001)) == {"b"}


def test_a_client_that_knows_the_way_to_the_pod_asks_it_too_from_the_same_port(node: Node, ask: Ask) -> None:
    node.sync({frontend(EXTERNAL): serving("a")})
    node.network.run("client", "ip", "route", "add", PODS["a"], "via", NODE)
    try:
        assert ask("client", EXTERNAL, own=7008) == ask("client", PODS["a"], 8080, own=7008) == [f"a {CLIENT}"]
    finally:
        node.network.run("client", "ip", "route", "delete", PODS["a"])


@KINDS
@pytest.mark.parametrize(("pod", "via"), [(PODS["a"], NODE), (PODS6["a"], NODE6)])
def test_a_client_outside_that_asks_a_pod_itself_is_answered_by_the_pod(
    node: Node, ask: Ask, pod: str, via: str, kind: str, protocol: int
) -> None:
    """A datagram that answers looks like the first one of a pod to the world, which would see the node."""
    node.sync({frontend(EXTERNAL, 80, protocol): serving("far")})
    node.network.run("client", "ip", "route", "add", pod, "via", via)
    try:
        for _ in range(3):
            assert ask("client", pod, 8080, kind, own=7009) == [f"a {CLIENT6 if ':' in pod else CLIENT}"]
        assert len(node.flows()) == (protocol == UDP)
    finally:
        node.network.run("client", "ip", "route", "delete", pod)


def test_other_traffic_of_the_node_is_left_alone(node: Node, ask: Ask) -> None:
    node.sync({frontend(EXTERNAL): serving("b")})
    assert ask("client", NODE, 8888) == ["ECONNREFUSED"]  # by the node's own stack
    assert node.flows() == []
