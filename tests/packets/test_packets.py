"""Services on the packet, as clients without a hook meet them: real packets through real rules."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from socklb.packets.chains import chooser, own_clients
from socklb.serving import ANY4, ANY6, Frontend
from tests.packets.conftest import Node, backends, frontend, serving
from tests.packets.network import CLIENT, CLIENT6, NODE, NODE6, PODS, Network
from tests.support.programs import SCTP_INIT

TCP, UDP, SCTP = socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_SCTP
SERVICE, SERVICE6, EXTERNAL, EXTERNAL6 = "10.96.0.10", "fd00:10:96::a", "192.0.2.1", "2001:db8::1"
Ask = Callable[..., list[str]]
FAMILIES = pytest.mark.parametrize("address", [EXTERNAL, EXTERNAL6])
KINDS = pytest.mark.parametrize(("kind", "protocol"), [("tcp", TCP), ("udp", UDP)])


def names(answers: list[str]) -> set[str]:
    return {answer.split()[0] for answer in answers}


@KINDS
@pytest.mark.parametrize("client", ["a", "node"])
def test_a_cluster_ip_is_served_by_every_backend(node: Node, ask: Ask, client: str, kind: str, protocol: int) -> None:
    node.sync({frontend(SERVICE, 80, protocol): serving("b", "far")})
    assert names(ask(client, SERVICE, 80, kind, 40)) == {"b", "far"}


@KINDS
@pytest.mark.parametrize("client", ["a", "client"])
def test_ipv6_is_served_alike(node: Node, ask: Ask, client: str, kind: str, protocol: int) -> None:
    node.sync({frontend(SERVICE6, 80, protocol): serving("b", "far", six=True)})
    assert names(ask(client, SERVICE6, 80, kind, 40)) == {"b", "far"}


def test_many_backends_leave_no_slot_unanswered(node: Node, ask: Ask) -> None:
    """All slots lead to a server: a slot that is missed would be refused."""
    node.sync({frontend(SERVICE): serving(*["b", "far"] * 50)})
    answers = ask("a", SERVICE, 80, "tcp", 200)
    assert names(answers) == {"b", "far"}


def test_a_pod_keeps_its_address_on_the_way_to_another_node(node: Node, ask: Ask) -> None:
    node.sync({frontend(SERVICE): serving("far")})
    assert ask("a", SERVICE) == [f"far {PODS['a']}"]


@pytest.mark.parametrize("pod", ["a", "b"])
@pytest.mark.parametrize("bridged_packets_are_seen", ["0", "1"])
def test_a_pod_reaches_itself_and_its_neighbour(
    node: Node, ask: Ask, network: Network, pod: str, bridged_packets_are_seen: str
) -> None:
    for family in ("", "6"):
        network.run("node", "sysctl", "-w", f"net.bridge.bridge-nf-call-ip{family}tables={bridged_packets_are_seen}")
    node.sync({frontend(SERVICE): serving(pod), frontend(SERVICE6): serving(pod, six=True)})
    assert names(ask("a", SERVICE)) == {pod}
    assert names(ask("a", SERVICE6)) == {pod}


@KINDS
@pytest.mark.parametrize(("address", "anywhere"), [(NODE, ANY4), (NODE6, ANY6)])
def test_a_node_port_is_served_to_the_outside_from_the_node(
    node: Node, ask: Ask, address: str, anywhere: bytes, kind: str, protocol: int
) -> None:
    node.sync({Frontend(anywhere, 32000, protocol): serving("a", "far", six=":" in address)})
    answers = ask("client", address, 32000, kind, 40)
    assert names(answers) == {"a", "far"}
    assert not any(CLIENT in answer or "fd00:31::9" in answer for answer in answers)


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
@pytest.mark.parametrize("client", ["client", "a", "node"])
@pytest.mark.parametrize("address", [NODE, NODE6, EXTERNAL, SERVICE, SERVICE6])
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
def test_an_unknown_port_of_a_cluster_ip_is_refused(
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
    node.refuse_in()
    assert ask(client, address) != ["ECONNREFUSED"]


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


@FAMILIES
def test_affinity_survives_another_agent(node: Node, ask: Ask, network: Network, address: str) -> None:
    wanted = {frontend(address): serving("a", "b", "far", six=":" in address, affinity=100)}
    node.sync(wanted)
    (kept,) = names(ask("client", address, 80, "tcp", 10))
    second = Node(network)
    second.sync(wanted)
    assert second.packets.written == 0
    assert names(ask("client", address, 80, "tcp", 20)) == {kept}
    second.close()


@FAMILIES
def test_affinity_ends_with_its_time(node: Node, ask: Ask, network: Network, address: str) -> None:
    asked = frontend(address)
    node.sync({asked: serving("b", "far", six=":" in address, affinity=1)})
    clients = own_clients(chooser(asked, 2, 1)) or "affinity4"

    def is_kept() -> bool:
        return "expires" in network.output("node", "nft", "list", "map", "inet", "socklb", clients)

    (kept,) = names(ask("client", address, 80, "tcp", 20))
    assert is_kept()
    found = set[str]()
    for _ in range(30):  # each asks as a new client, and comes to the same endpoint 30 times by a chance of 1 to 2^29
        wait_until(lambda: not is_kept())
        found |= names(ask("client", address))
        if found - {kept}:
            return
    raise AssertionError(found)


def test_affinity_over_ipv6_leaves_nothing_behind_when_switched_off(node: Node, ask: Ask, network: Network) -> None:
    """Each IPv6 frontend has a map and a chain of its own for it."""
    asked = frontend(EXTERNAL6)
    both = serving("b", "far", six=True, affinity=100)._replace(outside=backends("b", six=True))

    def own() -> list[str]:
        listed = network.output("node", "nft", "list", "table", "inet", "socklb")
        return [line for line in listed.splitlines() if line.strip().startswith(("map affinity6", "chain keep"))]

    node.sync({asked: both})
    assert len(own()) == 3
    node.apply({asked: both._replace(outside=None)})
    assert len(own()) == 2
    node.apply({asked: both._replace(outside=None, affinity=0)})
    assert own() == []
    node.apply({asked: both})
    node.apply({}, frozenset({asked}))
    assert own() == []


def test_an_sctp_init_arrives_rewritten(node: Node, network: Network) -> None:
    node.sync({frontend(EXTERNAL, 80, SCTP): serving("b")})
    watch = network.start("b", "tcpdump", "-i", "eth0", "-n", "-l", "-c", "1", "ip proto 132", ready="listening on")
    network.run("client", "python3", "-c", SCTP_INIT, EXTERNAL, "80", "5000")
    assert watch.stdout is not None
    line = next(text for text in (raw.decode() for raw in watch.stdout) if " sctp" in text)
    assert f"{PODS['b']}.8080: sctp" in line
    assert "INIT" in line


def test_pod_to_pod_is_not_tracked_and_what_the_node_translates_is(node: Node, ask: Ask, network: Network) -> None:
    node.sync({frontend(SERVICE): serving("far")})
    assert ask("a", PODS["far"], 8080) == [f"far {PODS['a']}"]
    assert PODS["a"] not in network.output("node", "conntrack", "-L")
    assert ask("a", SERVICE) == [f"far {PODS['a']}"]
    assert PODS["a"] in network.output("node", "conntrack", "-L")
    assert ask("node", PODS["b"], 8080) == ["b 10.244.1.1"]
    assert PODS["b"] in network.output("node", "conntrack", "-L")


def test_pods_go_out_with_the_nodes_address(node: Node, ask: Ask, network: Network) -> None:
    from tests.packets.programs import SERVER

    node.sync({})
    server = network.start("client", "python3", "-c", SERVER, "outside", CLIENT, "fd00:31::9", ready="ready")
    assert ask("a", CLIENT, 8080) == [f"outside {NODE}"]
    assert ask("a", "fd00:31::9", 8080) == [f"outside {NODE6}"]
    server.kill()
    server.wait()


def test_a_udp_client_with_a_fixed_port_leaves_a_removed_endpoint(node: Node, ask: Ask) -> None:
    asked = frontend(EXTERNAL, 80, UDP)
    node.sync({asked: serving("b")})
    assert names(ask("client", EXTERNAL, 80, "udp", own=12345)) == {"b"}
    node.apply({asked: serving("far")})
    wait_until(lambda: names(ask("client", EXTERNAL, 80, "udp", own=12345)) == {"far"})
    node.apply({asked: serving()})
    wait_until(lambda: ask("client", EXTERNAL, 80, "udp", own=12345) == ["ECONNREFUSED"])
    node.apply({asked: serving("b")})
    wait_until(lambda: names(ask("client", EXTERNAL, 80, "udp", own=12345)) == {"b"})
    node.apply({}, frozenset({asked}))
    wait_until(lambda: ask("client", EXTERNAL, 80, "udp", own=12345) != [f"b {NODE}"])


def test_a_change_writes_its_own_elements_only(node: Node) -> None:
    many = {frontend(f"10.96.1.{n}"): serving("a", "b") for n in range(200)}
    node.sync(many)
    before = node.packets.written
    node.apply({frontend("10.96.1.7"): serving("a", "far")})
    assert node.packets.written - before == 2, "one element away, the same with other data"


def test_what_an_earlier_agent_left_is_pruned_and_the_rest_untouched(node: Node, ask: Ask, network: Network) -> None:
    node.sync({frontend(SERVICE): serving("b"), frontend(EXTERNAL): serving("b")})
    second = Node(network)
    second.sync({frontend(SERVICE): serving("b")})
    assert second.packets.written == 2
    assert names(ask("a", SERVICE)) == {"b"}
    assert ask("client", EXTERNAL) != [f"b {NODE}"]
    second.close()


def test_a_table_of_another_version_is_replaced_whole(node: Node, ask: Ask, network: Network) -> None:
    network.run("node", "nft", "add table inet socklb; add chain inet socklb skeleton-of-another")
    node.sync({frontend(SERVICE): serving("b")})
    assert names(ask("a", SERVICE)) == {"b"}
    assert "skeleton-of-another" not in network.output("node", "nft", "list", "chains")


def test_a_flushed_ruleset_is_repaired(node: Node, ask: Ask, network: Network) -> None:
    node.sync({frontend(SERVICE): serving("b")})
    network.run("node", "nft", "flush", "ruleset")
    with network.inside("node"):
        assert node.packets.repair()
        assert not node.packets.repair()
    assert names(ask("a", SERVICE)) == {"b"}


def wait_until(true: Callable[[], bool]) -> None:
    import time

    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
