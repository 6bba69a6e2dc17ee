"""Host routing: what is translated, and what pods send each other, goes past the stack; and what must not, does not."""

from __future__ import annotations

import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rig.sandbox import mounted_bpffs
from socklb.model import ANY4, ANY6, Backend, Frontend, Serving, pack_address
from socklb.tc import layout
from tests.packets.network import CLIENT, CLIENT6, NODE, NODE6, PODS, PODS6, Network, RoutedNetwork, with_servers
from tests.tc.translation.conftest import Ask, Node, frontend, serving
from tests.tc.translation.test_on_the_wire import BULK_CLIENT, BULK_SERVER

TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
SERVICE, SERVICE6 = "10.96.0.10", "fd00:10:96::a"
KINDS = pytest.mark.parametrize(("kind", "protocol"), [("tcp", TCP), ("udp", UDP)])
SIX = pytest.mark.parametrize("six", [False, True], ids=["ipv4", "ipv6"])
COUNTING = """
table inet seen {
    counter forwarded { }
    chain forward { type filter hook forward priority 0; meta l4proto { tcp, udp } counter name forwarded; }
}
"""
# argv: address, length; sends a datagram that may not be cut, until its sender is told what may
TOO_LONG = """
import socket, sys, time
six = ":" in sys.argv[1]
with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.setsockopt(*((41, 23, 2) if six else (0, 10, 2)))  # IPV6_MTU_DISCOVER or IP_MTU_DISCOVER: always
    client.connect((sys.argv[1], 8080))
    for _ in range(20):
        try:
            client.send(bytes(int(sys.argv[2])))
        except OSError as error:
            print(error.errno)
            break
        time.sleep(0.05)
"""
# argv: address; sends with a TTL of one, and prints who answers that it was used up
USED_UP = """
import socket, sys
six = ":" in sys.argv[1]
with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.setsockopt(*((41, 16, 1) if six else (0, 2, 1)))
    client.setsockopt(*((41, 25, 1) if six else (0, 11, 1)))  # IPV6_RECVERR or IP_RECVERR
    client.settimeout(3)
    client.connect((sys.argv[1], 8080))
    client.send(b"?")
    try:
        client.recv(9)
    except OSError as error:
        print(error.errno)
"""


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with with_servers(RoutedNetwork) as place:
        place.run("node", "sh", "-c", f"echo '{COUNTING}' | nft -f -")
        yield place


@pytest.fixture(scope="module", params=[True, False], ids=["host routing", "by the stack"])
def loaded(
    network: Network, objects: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("bpffs")
    with mounted_bpffs(folder) as bpffs, closing(Node(network, bpffs, objects, host_routing=request.param)) as node:
        for device, way in (("eth0", layout.TO_NEIGHBOUR), ("a", layout.INTO_POD), ("b", layout.INTO_POD)):
            node.put("ways", (layout.IFINDEX.pack(node.index_of(device)), bytes([way])))
        for pod in ("a", "b"):
            node.attach(pod, "routed")
        yield node
        for device in ("eth0", "a", "b"):
            node.detach(device)


@pytest.fixture
def routed(loaded: Node, request: pytest.FixtureRequest) -> bool:
    """Whether nothing is to be seen by the node's stack: in every second run, which is the control, all is."""
    return "host routing" in request.node.name


def forwarded(node: Node) -> int:
    """How many packets the node's stack has forwarded since the last call."""
    words = node.network.output("node", "nft", "reset", "counter", "inet", "seen", "forwarded").split()
    return int(words[words.index("packets") + 1])


def check(node: Node, ask: Ask, expected: str, *asked: object, routed: bool) -> None:
    """Ask, and see by which way the packets went. The first answer may wait until neighbours are known."""
    assert ask(*asked) == [expected]  # type: ignore[arg-type]
    forwarded(node)
    assert ask(*asked) == [expected]  # type: ignore[arg-type]
    assert (forwarded(node) == 0) == routed


@KINDS
@SIX
@pytest.mark.parametrize("to", ["b", "far"])
def test_what_pods_send_each_other(
    node: Node, ask: Ask, to: str, kind: str, protocol: int, *, six: bool, routed: bool
) -> None:
    pods = PODS6 if six else PODS
    check(node, ask, f"{to} {pods['a']}", "a", pods[to], 8080, kind, routed=routed)
    assert node.flows() == []


@KINDS
@SIX
@pytest.mark.parametrize("to", ["b", "far"])
def test_a_node_port(node: Node, ask: Ask, to: str, kind: str, protocol: int, *, six: bool, routed: bool) -> None:
    node.sync({Frontend(ANY6 if six else ANY4, 32000, protocol): serving(to, six=six)})
    seen = (CLIENT6 if six else CLIENT) if to == "b" else (NODE6 if six else NODE)
    check(node, ask, f"{to} {seen}", "client", NODE6 if six else NODE, 32000, kind, routed=routed)
    assert {(flow.client_side > 0, flow.server_side > 0) for flow in node.flows()} == {(True, True)}


@KINDS
@SIX
@pytest.mark.parametrize("to", ["b", "far"])
def test_a_pod_that_no_hook_sees(
    node: Node, ask: Ask, to: str, kind: str, protocol: int, *, six: bool, routed: bool
) -> None:
    node.sync({frontend(SERVICE6 if six else SERVICE, 80, protocol): serving(to, six=six)})
    node.detach("a")
    node.attach("a", "pod")
    try:
        pod = (PODS6 if six else PODS)["a"]
        check(node, ask, f"{to} {pod}", "a", SERVICE6 if six else SERVICE, 80, kind, routed=routed)
        check(node, ask, f"{to} {pod}", "a", (PODS6 if six else PODS)[to], 8080, kind, routed=routed)
    finally:
        node.detach("a")
        node.attach("a", "routed")


@SIX
@pytest.mark.usefixtures("routed")
def test_what_is_too_long_for_the_way_is_told(node: Node, network: Network, *, six: bool) -> None:
    to = (PODS6 if six else PODS)["b"]
    network.run("node", "ip", "link", "set", "dev", "b", "mtu", "1300")
    time.sleep(1.1)  # the way is asked again
    try:
        assert network.output("a", sys.executable, "-c", TOO_LONG, to, "1400") == "90", "EMSGSIZE"
    finally:
        network.run("node", "ip", "link", "set", "dev", "b", "mtu", "1500")
        for family in ("-4", "-6"):
            network.run("a", "ip", family, "route", "flush", "cache")
    assert network.output("a", sys.executable, "-c", TOO_LONG, to, "1400") == "", "the control"


@SIX
@pytest.mark.usefixtures("routed")
def test_what_has_gone_far_enough_is_told(node: Node, network: Network, *, six: bool) -> None:
    assert network.output("a", sys.executable, "-c", USED_UP, (PODS6 if six else PODS)["b"]) == "113", "EHOSTUNREACH"


@SIX
@pytest.mark.parametrize("to", ["b", "far"])
def test_bytes_arrive_whole(node: Node, network: Network, to: str, *, six: bool, routed: bool) -> None:
    pods, address = (PODS6, NODE6) if six else (PODS, NODE)
    node.sync({Frontend(ANY6 if six else ANY4, 32001, TCP): Serving((Backend(pack_address(pods[to]), 8081),))})
    server = network.start(to, sys.executable, "-c", BULK_SERVER, pods[to], ready="ready")
    network.output("client", sys.executable, "-c", BULK_CLIENT, address)
    forwarded(node)
    assert network.output("client", sys.executable, "-c", BULK_CLIENT, address) == "True"
    assert (forwarded(node) == 0) == routed
    server.kill()


@pytest.mark.usefixtures("routed")
def test_a_pod_that_pretends_to_have_been_served_is_not_believed(
    node: Node, network: Network, ask: Ask, tmp_path: Path
) -> None:
    """It would reach the world with its own address. That it cannot, is seen by the flow that masquerades it."""
    pretend = tmp_path / "pretend.bpf.o"
    source, include = Path(__file__).with_name("pretend.bpf.c"), f"-I/usr/include/{platform.machine()}-linux-gnu"
    subprocess.run(["clang", "-O2", "-g", "--target=bpf", include, "-c", source, "-o", pretend], check=True)
    network.run("a", "tc", "qdisc", "add", "dev", "eth0", "clsact")
    try:
        words = ("filter", "add", "dev", "eth0", "egress", "bpf", "da", "obj", str(pretend), "sec", "tc")
        network.run("a", "tc", *words)
        node.sync({})
        ask("a", CLIENT, 9, "udp")
        assert [flow.row for flow in node.flows()] == [layout.NO_FRONTEND]
    finally:
        network.run("a", "tc", "qdisc", "delete", "dev", "eth0", "clsact")
