"""Services on the packet, as clients without a hook meet them: real packets, the tables as the agent writes them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from socklb.datapath import layout
from socklb.datapath.maps import RowTable
from socklb.model import ANY4, ANY6, Frontend, pack_address
from tests.packets.conftest import Ask, Node, backends, frontend, names, see_bridged_packets, serving
from tests.packets.network import CLIENT, CLIENT6, NODE, NODE6, PODS, Network
from tests.support.programs import SCTP_INIT

TCP, UDP, SCTP = socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_SCTP
SERVICE, SERVICE6, EXTERNAL, EXTERNAL6 = "10.96.0.10", "fd00:10:96::a", "192.0.2.1", "2001:db8::1"
FAMILIES = pytest.mark.parametrize("address", [EXTERNAL, EXTERNAL6])
KINDS = pytest.mark.parametrize(("kind", "protocol"), [("tcp", TCP), ("udp", UDP)])


def test_many_backends_leave_no_slot_unanswered(node: Node, ask: Ask) -> None:
    """All of them lead to a server: one that is missed would be refused."""
    node.sync({frontend(SERVICE): serving(*["b", "far"] * 50)})
    assert names(ask("a", SERVICE, 80, "tcp", 200)) == {"b", "far"}


@pytest.mark.parametrize("pod", ["a", "b"])
@pytest.mark.parametrize("bridged_packets_are_seen", [False, True])
def test_a_pod_reaches_itself_and_its_neighbour(
    node: Node, ask: Ask, network: Network, pod: str, bridged_packets_are_seen: bool
) -> None:
    see_bridged_packets(network, see=bridged_packets_are_seen)
    node.sync({frontend(SERVICE): serving(pod), frontend(SERVICE6): serving(pod, six=True)})
    assert names(ask("a", SERVICE)) == {pod}
    assert names(ask("a", SERVICE6)) == {pod}


def test_external_traffic_policy_local_keeps_the_clients_address_and_stays_on_the_node(node: Node, ask: Ask) -> None:
    node.sync({Frontend(ANY4, 32000, TCP): serving("a", "far", outside=backends("a"))})
    assert set(ask("client", NODE, 32000, "tcp", 20)) == {f"a {CLIENT}"}
    assert names(ask("b", NODE, 32000, "tcp", 40)) == {"a", "far"}


def test_a_pod_of_another_node_is_outside_at_a_node_port(node: Node, ask: Ask) -> None:
    node.sync({Frontend(ANY4, 32000, TCP): serving("b", "far", outside=backends("b"))})
    assert names(ask("far", NODE, 32000, "tcp", 20)) == {"b"}


def test_without_an_endpoint_here_the_outside_gets_no_answer(node: Node, ask: Ask) -> None:
    port = Frontend(ANY4, 32000, TCP)
    node.sync({port: serving("far", outside=())})
    assert ask("client", NODE, 32000) == ["TIMEOUT"]
    node.apply({port: serving("far")})
    assert names(ask("client", NODE, 32000)) == {"far"}


@KINDS
@pytest.mark.parametrize("client", ["a", "node"])
@pytest.mark.parametrize("address", [NODE, NODE6, EXTERNAL, EXTERNAL6])
def test_without_endpoints_it_is_refused(
    node: Node, ask: Ask, client: str, address: str, kind: str, protocol: int
) -> None:
    asked = (
        Frontend(ANY6 if ":" in address else ANY4, 80, protocol)
        if address in (NODE, NODE6)
        else frontend(address, 80, protocol)
    )
    node.sync({asked: serving()})
    assert ask(client, address, 80, kind) == ["ECONNREFUSED"]


@KINDS
@pytest.mark.parametrize("client", ["client", "a", "node"])
@pytest.mark.parametrize("address", [SERVICE, SERVICE6])
def test_an_unknown_port_of_a_cluster_ip_is_refused_until_it_is_one(
    node: Node, ask: Ask, client: str, address: str, kind: str, protocol: int
) -> None:
    six = ":" in address
    node.sync({frontend(address, 80, protocol): serving("b", six=six)})
    assert ask(client, address, 81, kind) == ["ECONNREFUSED"]
    assert names(ask(client, address, 80, kind)) == {"b"}
    node.apply({frontend(address, 81, protocol): serving("b", six=six)})
    assert names(ask(client, address, 81, kind)) == {"b"}


@KINDS
def test_a_process_of_the_node_that_may_not_come_gets_no_answer_and_no_error(
    node: Node, ask: Ask, kind: str, protocol: int
) -> None:
    asked = frontend(EXTERNAL, 80, protocol)
    node.sync({asked: serving("b", "far", sources=("198.51.100.0/24",))})
    assert ask("node", EXTERNAL, 80, kind) == ["TIMEOUT"]
    node.apply({asked: serving("b", "far", sources=(f"{NODE}/32",))})
    assert names(ask("node", EXTERNAL, 80, kind)) <= {"b", "far"}


@KINDS
@FAMILIES
def test_source_ranges_let_only_their_clients_pass(
    node: Node, ask: Ask, address: str, kind: str, protocol: int
) -> None:
    asked, six = frontend(address, 80, protocol), ":" in address
    ours = (f"{CLIENT6}/128", "fd00:10:244:1::2/127") if six else (f"{CLIENT}/32", "10.244.1.2/31", "10.244.1.2/32")
    node.sync({asked: serving("b", "far", six=six, sources=ours)})
    assert names(ask("client", address, 80, kind)) <= {"b", "far"}
    assert names(ask("a", address, 80, kind)) <= {"b", "far"}
    node.apply({asked: serving("b", "far", six=six, sources=("198.51.100.0/24", "2001:db8:1::/48"))})
    assert ask("client", address, 80, kind) == ask("a", address, 80, kind) == ["TIMEOUT"]
    node.apply({asked: serving("b", "far", six=six)})
    assert names(ask("client", address, 80, kind)) <= {"b", "far"}


@pytest.mark.parametrize("address", ["10.96.9.9", "fd00:10:96::99"])
@pytest.mark.parametrize("client", ["client", "a", "node"])
def test_what_no_service_has_in_a_service_cidr_is_refused(node: Node, ask: Ask, client: str, address: str) -> None:
    node.sync({frontend(SERVICE): serving("b"), frontend(SERVICE6): serving("b", six=True)})
    assert ask(client, address) != ["ECONNREFUSED"]  # it went on by the default route
    node.refuse_in("10.96.0.0/16", "fd00:10:96::/112", "10.96.128.0/17")
    assert ask(client, address) == ["ECONNREFUSED"]
    assert names(ask(client, SERVICE)) == names(ask(client, SERVICE6)) == {"b"}


@KINDS
@FAMILIES
@pytest.mark.parametrize("client", ["client", "a"])
def test_affinity_keeps_a_client_at_its_endpoint_until_that_goes(
    node: Node, ask: Ask, client: str, address: str, kind: str, protocol: int
) -> None:
    asked, six = frontend(address, 80, protocol), ":" in address
    node.sync({asked: serving("b", "far", six=six, affinity=100)})
    (kept,) = names(ask(client, address, 80, kind, 20))
    node.apply({asked: serving("a", "b", "far", six=six, affinity=100)})
    assert names(ask(client, address, 80, kind, 20)) == {kept}
    others = {"b", "far"} - {kept}
    node.apply({asked: serving(*others, six=six, affinity=100)})
    assert names(ask(client, address, 80, kind, 20)) == others
    node.apply({asked: serving("b", "far", six=six, affinity=100)})
    assert names(ask(client, address, 80, kind, 20)) == others
    node.apply({asked: serving("b", "far", six=six)})
    assert names(ask(client, address, 80, kind, 40)) == {"b", "far"}


@FAMILIES
def test_affinity_survives_another_agent(node: Node, ask: Ask, address: str) -> None:
    wanted = {frontend(address): serving("a", "b", "far", six=":" in address, affinity=100)}
    node.sync(wanted)
    (kept,) = names(ask("client", address, 80, "tcp", 10))
    node.close()
    node.open()
    node.sync(wanted)
    assert names(ask("client", address, 80, "tcp", 20)) == {kept}


@FAMILIES
def test_affinity_ends_with_its_time(node: Node, ask: Ask, address: str) -> None:
    node.sync({frontend(address): serving("b", "far", six=":" in address, affinity=1)})
    (kept,) = names(ask("client", address, 80, "tcp", 20))
    for _ in range(30):  # each asks as a new client, and comes to the same endpoint 30 times by a chance of 1 to 2^30
        time.sleep(1.05)
        if names(ask("client", address)) != {kept}:
            return
    raise AssertionError(kept)


@contextmanager
def busy(node: Node, pod: str) -> Iterator[None]:
    """Have a backend counted as one with many connections from this node."""
    maps = node.pins.maps
    with (
        closing(RowTable(maps, "backends", layout.BACKEND_ROW.size)) as rows,
        closing(RowTable(maps, "loads", layout.LOAD.size)) as loads,
    ):
        of_pod = [row for row in range(rows.capacity) if rows.read(row)[:16] == pack_address(PODS[pod])]
        numbers = {layout.loads_of(rows.read(row))[0] for row in of_pod} - {0}
        for number in numbers:
            loads.publish(number, 0, 1000)
        yield
        for number in numbers:
            loads.publish(number, 0, 0)


def test_the_less_loaded_of_two_gets_the_connection(node: Node, ask: Ask) -> None:
    """What is counted are the connections of the node's sockets."""
    asked = frontend(EXTERNAL)
    node.sync({asked: serving("b", "far", least_loaded=True)})
    assert names(ask("client", EXTERNAL, 80, "tcp", 40)) == {"b", "far"}
    with busy(node, "b"):
        assert names(ask("client", EXTERNAL, 80, "tcp", 40)) == {"far"}


def test_an_sctp_init_arrives_rewritten(node: Node, network: Network) -> None:
    node.sync({frontend(EXTERNAL, 80, SCTP): serving("b")})
    watch = network.start("b", "tcpdump", "-i", "eth0", "-n", "-l", "-c", "1", "ip proto 132", ready="listening on")
    network.run("client", "python3", "-c", SCTP_INIT, EXTERNAL, "80", "5000")
    assert watch.stdout is not None
    line = next(text for text in (raw.decode() for raw in watch.stdout) if " sctp" in text)
    assert f"{PODS['b']}.8080: sctp" in line
    assert "INIT" in line


FIREWALL = """
table inet firewall {
    counter invalid { }
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state invalid counter name invalid drop
        ct state established accept
        ct state new accept
    }
}
"""


@pytest.mark.usefixtures("bridges_pass_netfilter_by")
def test_no_connection_is_tracked_unless_somebody_else_wants_that_who_sees_each_of_them_whole(
    node: Node, ask: Ask, network: Network
) -> None:
    node.sync(
        {
            frontend(EXTERNAL): serving("b"),
            frontend(SERVICE): serving("far"),
            Frontend(ANY4, 32000, TCP): serving("far"),
        }
    )
    asked = (("client", EXTERNAL, 80), ("client", NODE, 32000), ("a", SERVICE, 80), ("a", PODS["far"], 8080))
    answers = [[f"b {CLIENT}"], [f"far {NODE}"], [f"far {PODS['a']}"], [f"far {PODS['a']}"]]
    assert [ask(*one) for one in asked] == answers
    assert network.output("node", "conntrack", "-L") == ""
    network.run("node", "nft", FIREWALL)
    try:
        assert [ask(*one) for one in asked] == answers
        tracked = network.output("node", "conntrack", "-L").splitlines()
        assert "packets 0 " in network.output("node", "nft", "list", "counter", "inet", "firewall", "invalid")
    finally:
        network.run("node", "nft", "delete", "table", "inet", "firewall")
    assert len(tracked) == 4
    assert not any("UNREPLIED" in line for line in tracked)


def test_a_udp_client_with_a_fixed_port_leaves_a_removed_endpoint(node: Node, ask: Ask) -> None:
    asked = frontend(EXTERNAL, 80, UDP)
    for pod in ("b", "far", "b"):
        node.sync({asked: serving(pod)})
        assert names(ask("client", EXTERNAL, 80, "udp", own=12345)) == {pod}
        node.apply({asked: serving()})
        assert ask("client", EXTERNAL, 80, "udp", own=12345) == ["ECONNREFUSED"]
    node.apply({asked: serving("b")})
    assert names(ask("client", EXTERNAL, 80, "udp", own=12345)) == {"b"}
    node.apply({}, frozenset({asked}))
    assert ask("client", EXTERNAL, 80, "udp", own=12345) == ["TIMEOUT"]
