"""Sockets used in odd ways: each sees through the hooks what it sees outside them, where packets are translated."""

from __future__ import annotations

import ctypes as ct
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rig.sandbox import BACKENDS4, BACKENDS6, NODE4, NODE6, PORT, Sandbox, mounted_bpffs, udp_client
from socklb.datapath.features import netns_cookie
from socklb.datapath.node_datapath import NodeDatapath
from socklb.model import ANY4, ANY6, Addresses, Difference, Frontend, pack_address
from tests.datapath.loaded import this_node
from tests.datapath.oracle import served_on_packets
from tests.datapath.services import frontend, serving
from tests.datapath.test_node_ports import in_a_pod

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
PROTOCOLS = (socket.IPPROTO_TCP, socket.IPPROTO_UDP)
V, W = "10.96.77.1", "10.96.77.2"
POD = BACKENDS4[0]
HOOKED_ONLY = "10.96.77.3"  # no rule serves it
MANY = [f"10.96.78.{n}" for n in range(1, 13)]
NODE_PORT = 31701
SOURCE_PORT = 40001  # below ip_local_port_range of nobody: the sandbox is alone


@pytest.fixture(scope="module")
def oracle(sandbox: Sandbox) -> Iterator[None]:
    services = {(vip, 80): (POD, PORT) for vip in (V, W, *MANY)}
    with served_on_packets(sandbox, services, {NODE_PORT: ((POD, PORT), (BACKENDS6[0], PORT))}):
        yield


@pytest.fixture(scope="module")
def beside_packets(
    sandbox: Sandbox, oracle: None, objects: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NodeDatapath]:
    """Hooks that may leave to the packet path what they cannot serve by name."""
    with (
        mounted_bpffs(tmp_path_factory.mktemp("beside")) as bpffs,
        NodeDatapath(bpffs, sandbox.cgroup, objects, packets=True) as node,
    ):
        this_node(node, sandbox.run(netns_cookie))
        put = {frontend(vip, protocol): serving(POD) for vip in (V, W, HOOKED_ONLY, *MANY) for protocol in PROTOCOLS}
        put |= {Frontend(ANY4, NODE_PORT, protocol): serving(POD) for protocol in PROTOCOLS}
        put |= {Frontend(ANY6, NODE_PORT, protocol): serving(BACKENDS6[0]) for protocol in PROTOCOLS}
        own = frozenset(map(pack_address, (NODE4, NODE6)))
        node.tables.apply(Difference(put=put, add=Addresses(nodes=own, own=own)))
        node.attach()
        yield node
        node.pins.remove()


def sender(client: socket.socket) -> str:
    """Receive; give who answered, as the program sees it."""
    return client.recvfrom(100)[1][0]


def two_services_unread() -> list[str]:
    with udp_client(V) as client:
        client.sendto(b"1", (V, 80))
        client.sendto(b"2", (W, 80))
        return sorted(sender(client) for _ in range(2))


def service_and_node_port_unread() -> list[str]:
    with udp_client(V) as client:
        client.sendto(b"1", (V, 80))
        client.sendto(b"2", (NODE4, NODE_PORT))
        return sorted(sender(client) for _ in range(2))


def two_services_in_turn() -> list[str]:
    with udp_client(V) as client:
        return [client.sendto(b"?", (vip, 80)) and sender(client) for vip in (V, W, W, V, V, W)]


def the_pod_after_the_service() -> list[str]:
    with udp_client(V) as client:
        asked = [(V, 80), (POD, PORT), (V, 80), (POD, PORT)]
        return [client.sendto(b"?", to) and sender(client) for to in asked]


def twelve_services_unread() -> list[str]:
    with udp_client(V) as client:
        for vip in MANY:
            client.sendto(b"?", (vip, 80))
        return sorted(sender(client) for _ in MANY)


def disconnect(client: socket.socket) -> None:
    """connect(AF_UNSPEC)."""
    assert ct.CDLL(None).connect(client.fileno(), bytes(16), 16) == 0


def the_pod_after_disconnecting() -> list[str]:
    with udp_client(V) as client:
        client.connect((V, 80))
        disconnect(client)
        return [client.sendto(b"?", to) and sender(client) for to in ((POD, PORT), (V, 80), (W, 80))]


def one_source_port(*to: tuple[str, int], reuse: int = socket.SO_REUSEADDR) -> Callable[[], list[str]]:
    """Connect sockets that are bound to one port, each to another place; give what each has for its peer."""

    def connect() -> list[str]:
        clients = [socket.socket(socket.AF_INET, TCP) for _ in to]
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, reuse, 1)
            client.bind(("0.0.0.0", SOURCE_PORT))
        for client, place in zip(clients, to, strict=True):
            client.connect(place)
        answered = [(client.getpeername()[0], client.recv(100).decode()) for client in clients]
        assert {answer for _, answer in answered} == {POD}
        return [peer for peer, _ in answered]

    return connect


def a_bound_source_port_again_at_once() -> list[str]:
    return [one_source_port((vip, 80))()[0] for vip in (V, W, V)]


ROWS = {
    "UDP, two Services with one pod, answers read later": (two_services_unread, [V, W]),
    "UDP, ClusterIP and NodePort with one pod": (service_and_node_port_unread, [V, NODE4]),
    "UDP, two Services with one pod in turn": (two_services_in_turn, [V, W, W, V, V, W]),
    "UDP, the pod itself after its Service": (the_pod_after_the_service, [V, POD, V, POD]),
    "UDP, twelve Services before the first answer is read": (twelve_services_unread, sorted(MANY)),
    "UDP, the pod itself after connect(AF_UNSPEC)": (the_pod_after_disconnecting, [POD, V, W]),
    "TCP, one source port to two Services": (one_source_port((V, 80), (W, 80)), [V, W]),
    "TCP, one source port to Service and pod": (one_source_port((V, 80), (POD, PORT)), [V, POD]),
    "TCP, one source port to pod and Service": (one_source_port((POD, PORT), (V, 80)), [POD, V]),
    "TCP, one source port to ClusterIP and NodePort": (one_source_port((V, 80), (NODE4, NODE_PORT)), [V, NODE4]),
    "TCP, one source port by SO_REUSEPORT": (
        one_source_port((V, 80), (W, 80), reuse=socket.SO_REUSEPORT),
        [V, W],
    ),
    "TCP, one source port again after close": (a_bound_source_port_again_at_once, [V, W, V]),
}


@pytest.mark.parametrize("hooked", [True, False], ids=["hooked", "control"])
@pytest.mark.parametrize(("use", "expected"), ROWS.values(), ids=ROWS)
def test_a_program_sees_the_address_that_it_asked(
    sandbox: Sandbox, beside_packets: NodeDatapath, use: Callable[[], list[str]], expected: list[str], hooked: bool
) -> None:
    assert sandbox.run(use, hooked=hooked) == expected


@pytest.mark.parametrize(("port", "served"), [(0, True), (SOURCE_PORT, False)], ids=["by the kernel", "by the program"])
def test_a_source_port_that_the_kernel_chose_is_no_reason_to_leave_it_to_packets(
    sandbox: Sandbox, beside_packets: NodeDatapath, port: int, served: bool
) -> None:
    """As `dig +tcp` binds. On a node that has no route to Services, only the hook can serve it."""

    def work() -> bool:
        with socket.socket(socket.AF_INET, TCP) as client:
            client.settimeout(1)  # the packet path, such as it is here, has a route and nobody who answers
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind(("0.0.0.0", port))
            return client.connect_ex((HOOKED_ONLY, 80)) == 0

    assert sandbox.run(work) == served


UNSPECIFIED = ["0.0.0.0", "::", "::ffff:0.0.0.0"]
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1", "::ffff:0.0.0.0": "::ffff:127.0.0.1"}


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def connect_to(address: str, kind: int) -> Callable[[], tuple[str, str]]:
    """Return a program that connects to a NodePort and says who answered and what the peer is called."""

    def work() -> tuple[str, str]:
        with socket.socket(family(address), kind) as client:
            client.settimeout(5)
            client.connect((address, NODE_PORT))
            if kind == UDP:
                client.send(b"?")
            return client.recv(100).decode(), client.getpeername()[0]

    return work


def send_to(address: str) -> tuple[str, str]:
    with udp_client(address) as client:
        client.sendto(b"?", (address, NODE_PORT))
        answer, (source, *_) = client.recvfrom(100)
        return answer.decode(), source


ASKS = {
    **{f"{kind} connect {a}": (a, connect_to(a, k)) for a in UNSPECIFIED for kind, k in (("TCP", TCP), ("UDP", UDP))},
    **{f"UDP sendto {a}": (a, lambda a=a: send_to(a)) for a in UNSPECIFIED},
}


@pytest.mark.parametrize("hooked", [True, False], ids=["hooked", "control"])
@pytest.mark.parametrize(("address", "ask"), ASKS.values(), ids=ASKS)
class TestTheUnspecifiedAddress:
    """The kernel takes it for this host, so it is the pod's own, and the node's where a node asks."""

    def test_of_a_pod_is_the_pods_own(
        self,
        sandbox: Sandbox,
        beside_packets: NodeDatapath,
        address: str,
        ask: Callable[[], tuple[str, str]],
        hooked: bool,
    ) -> None:
        assert in_a_pod(sandbox, lambda: with_own_listeners(ask), hooked=hooked) == ("own", LOOPBACK[address])

    def test_of_the_node_is_the_nodes_loopback(
        self,
        sandbox: Sandbox,
        beside_packets: NodeDatapath,
        address: str,
        ask: Callable[[], tuple[str, str]],
        hooked: bool,
    ) -> None:
        backend = BACKENDS6[0] if address == "::" else POD
        assert sandbox.run(ask, hooked=hooked) == (backend, LOOPBACK[address])


def with_own_listeners(ask: Callable[[], tuple[str, str]]) -> tuple[str, str]:
    """Ask while this process itself listens at the NodePort's number, TCP and UDP, both families."""
    server = socket.create_server(("::", NODE_PORT), family=socket.AF_INET6, dualstack_ipv6=True)
    datagrams = socket.socket(socket.AF_INET6, UDP)
    datagrams.bind(("::", NODE_PORT))

    def serve_tcp() -> None:
        server.accept()[0].sendall(b"own")

    def serve_udp() -> None:
        datagrams.sendto(b"own", datagrams.recvfrom(10)[1])

    for one in (serve_tcp, serve_udp):
        threading.Thread(target=one, daemon=True).start()
    return ask()
