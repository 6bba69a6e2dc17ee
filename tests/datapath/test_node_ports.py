"""NodePorts: on node addresses and on loopback, kept free for the Service, and per node under the policy Local."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from collections.abc import Callable

import pytest

from rig.sandbox import (
    BACKENDS4,
    BACKENDS6,
    NODE4,
    NODE6,
    Sandbox,
    ask_tcp,
    ask_udp,
    enter_network,
    running,
    serve,
    sh,
    udp_client,
)
from socklb.datapath import layout
from socklb.datapath.features import NETNS_COOKIE, SET_ERRNO, netns_cookie
from socklb.datapath.maps import RowTable
from socklb.datapath.node_datapath import NodeDatapath
from socklb.model import ANY4, ANY6, Addresses, Difference, Frontend, Serving, pack_address
from tests.datapath.services import SERVICE4, frontend, serving, web

PORT = 32000
OTHER_NODE = "172.18.0.3"
PROTOCOLS = (socket.IPPROTO_TCP, socket.IPPROTO_UDP)


@pytest.fixture
def node(sandbox: Sandbox, datapath: NodeDatapath) -> NodeDatapath:
    """A datapath whose node is the sandbox's network, with a NodePort for each protocol and family."""
    with contextlib.closing(RowTable(datapath.pins.maps, "this_node", layout.NODE.size)) as this_node:
        this_node.publish(0, 0, sandbox.run(netns_cookie))
    put = {Frontend(ANY4, PORT, protocol): serving(BACKENDS4[0]) for protocol in PROTOCOLS}
    put |= {Frontend(ANY6, PORT, protocol): serving(BACKENDS6[0]) for protocol in PROTOCOLS}
    nodes = frozenset(map(pack_address, (NODE4, NODE6, OTHER_NODE)))
    own = frozenset(map(pack_address, (NODE4, NODE6)))
    datapath.tables.apply(Difference(put=put, add=Addresses(nodes=nodes, own=own)))
    return datapath


def wait_for(work: Callable[[], object]) -> None:
    """Until a server listens."""
    for _ in range(500):
        with contextlib.suppress(ConnectionRefusedError):
            work()
            return
        time.sleep(0.02)
    raise TimeoutError


def in_a_pod(sandbox: Sandbox, work: Callable[[], object], *, hooked: bool = True) -> object:
    """Do something in a network namespace that is not the node's, but below its cgroup."""
    name = f"{sandbox.name}-pod"
    sh("ip", "netns", "add", name)
    sh("ip", "-n", name, "link", "set", "lo", "up")

    def enter_and_work() -> object:
        enter_network(name)
        return work()

    try:
        return sandbox.run(enter_and_work, hooked=hooked)
    finally:
        sh("ip", "netns", "delete", name)


def error_of(work: Callable[[], object]) -> int | None:
    try:
        work()
    except OSError as error:
        return error.errno
    return None


class TestLoopback:
    """kube-proxy's nftables mode does not serve it, KEP-6032 by a userspace proxy for TCP."""

    @pytest.mark.needs(NETNS_COOKIE)
    @pytest.mark.parametrize(
        ("address", "backend"),
        [
            ("127.0.0.1", BACKENDS4[0]),
            ("127.1.2.3", BACKENDS4[0]),
            ("::1", BACKENDS6[0]),
            ("::ffff:127.0.0.1", BACKENDS4[0]),
        ],
    )
    def test_serves_node_ports_to_processes_of_the_node(
        self, sandbox: Sandbox, node: NodeDatapath, address: str, backend: str
    ) -> None:
        assert sandbox.run(lambda: ask_tcp(address, PORT)) == (backend, f"{address} {PORT}")

        def ask() -> tuple[str, str]:
            with udp_client(address) as client:
                return ask_udp(client, address, PORT)

        assert sandbox.run(ask) == (backend, f"{address} {PORT}")

    @pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
    def test_of_a_pod_is_the_pods_own(self, sandbox: Sandbox, node: NodeDatapath, address: str) -> None:
        def listen_and_ask() -> str:
            server = socket.create_server((address, PORT), family=family(address))
            with server, socket.create_connection((address, PORT), 5) as client:
                return "own" if server.accept()[1] == client.getsockname() else "other"

        assert in_a_pod(sandbox, listen_and_ask) == "own"

    def test_at_ports_of_no_service_is_left_alone(self, sandbox: Sandbox, node: NodeDatapath) -> None:
        def listen_and_ask() -> bool:
            server = socket.create_server(("127.0.0.1", PORT + 7))
            with server, socket.create_connection(("127.0.0.1", PORT + 7), 5) as client:
                return server.accept()[1] == client.getsockname()

        assert sandbox.run(listen_and_ask)


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def bind(address: str, port: int, kind: socket.SocketKind) -> Callable[[], None]:
    def work() -> None:
        with socket.socket(family(address), kind) as server:
            server.bind((address, port))

    return work


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["TCP", "UDP"])
class TestANodePort:
    @pytest.mark.needs(SET_ERRNO)
    @pytest.mark.parametrize("address", ["0.0.0.0", "::", "127.0.0.1", "::1", NODE4, NODE6])
    def test_cannot_be_bound_by_a_process_of_the_node(
        self, sandbox: Sandbox, node: NodeDatapath, address: str, kind: socket.SocketKind
    ) -> None:
        assert sandbox.run(lambda: error_of(bind(address, PORT, kind))) == errno.EADDRINUSE
        assert sandbox.run(lambda: error_of(bind(address, PORT + 1, kind))) is None

    @pytest.mark.parametrize("address", ["0.0.0.0", "::", "127.0.0.1"])
    def test_can_be_bound_in_a_pod(
        self, sandbox: Sandbox, node: NodeDatapath, address: str, kind: socket.SocketKind
    ) -> None:
        assert in_a_pod(sandbox, lambda: error_of(bind(address, PORT, kind))) is None

    def test_can_be_bound_at_an_address_that_is_no_nodes(
        self, sandbox: Sandbox, node: NodeDatapath, kind: socket.SocketKind
    ) -> None:
        assert sandbox.run(lambda: error_of(bind(BACKENDS4[3], PORT, kind))) is None

    @pytest.mark.needs(SET_ERRNO)
    def test_of_ipv4_alone_is_taken_for_a_dual_stack_listener_too(
        self, sandbox: Sandbox, node: NodeDatapath, kind: socket.SocketKind
    ) -> None:
        node.tables.apply(Difference(put={Frontend(ANY4, PORT + 2, p): serving(BACKENDS4[0]) for p in PROTOCOLS}))
        assert sandbox.run(lambda: error_of(bind("::", PORT + 2, kind))) == errno.EADDRINUSE

    def test_can_be_bound_again_when_its_service_is_gone(
        self, sandbox: Sandbox, node: NodeDatapath, kind: socket.SocketKind
    ) -> None:
        node.tables.apply(Difference(delete=node.tables.frontends))
        assert sandbox.run(lambda: error_of(bind("0.0.0.0", PORT, kind))) is None

    @pytest.mark.parametrize("object_file", ["socklb-5.12.bpf.o", "socklb-5.10.bpf.o"])
    def test_can_be_bound_where_programs_cannot_choose_the_error(
        self, sandbox: Sandbox, node: NodeDatapath, kind: socket.SocketKind
    ) -> None:
        """The only other error they have is EPERM, which nobody would understand."""
        assert sandbox.run(lambda: error_of(bind("0.0.0.0", PORT, kind))) is None


@pytest.mark.needs(SET_ERRNO)
class TestAServiceAddressThatTheNodeHas:
    def test_cannot_be_bound_at_the_services_port(self, sandbox: Sandbox, node: NodeDatapath) -> None:
        node.tables.apply(Difference(put={frontend(BACKENDS4[3]): serving(BACKENDS4[0])}))
        assert sandbox.run(lambda: error_of(bind(BACKENDS4[3], 80, socket.SOCK_STREAM))) == errno.EADDRINUSE
        assert sandbox.run(lambda: error_of(bind(BACKENDS4[3], 81, socket.SOCK_STREAM))) is None


class TestExternalTrafficPolicyLocal:
    @pytest.fixture(autouse=True)
    def local(self, node: NodeDatapath) -> None:
        tcp = Frontend(ANY4, PORT, socket.IPPROTO_TCP)
        own_only = Serving(serving(*BACKENDS4[:2]).backends, own_node_only=True)
        node.tables.apply(Difference(put={tcp: own_only, tcp._replace(protocol=socket.IPPROTO_UDP): own_only}))

    @pytest.mark.needs(NETNS_COOKIE)
    def test_the_own_node_gives_any_endpoint(self, sandbox: Sandbox) -> None:
        assert {sandbox.run(lambda: ask_tcp(NODE4, PORT))[0] for _ in range(20)} == set(BACKENDS4[:2])
        assert sandbox.run(lambda: ask_tcp("127.0.0.1", PORT))[0] in BACKENDS4[:2]

    def test_another_node_is_asked_as_it_is(self, sandbox: Sandbox, node: NodeDatapath) -> None:
        """Who serves there, or nobody, is for that node to say. Here a listener of its own stands for it."""
        sh("ip", "-n", sandbox.name, "address", "add", f"{OTHER_NODE}/32", "dev", "lo")

        def ask() -> set[tuple[str, str]]:
            with udp_client(OTHER_NODE) as client:
                return {ask_tcp(OTHER_NODE, PORT), ask_udp(client, OTHER_NODE, PORT)}

        with running(sandbox, lambda: serve([(OTHER_NODE, PORT)])):
            sandbox.run(lambda: wait_for(lambda: ask_tcp(OTHER_NODE, PORT)), hooked=False)
            assert sandbox.run(ask) == {(OTHER_NODE, f"{OTHER_NODE} {PORT}")}
            anybody = {Frontend(ANY4, PORT, protocol): serving(BACKENDS4[0]) for protocol in PROTOCOLS}
            node.tables.apply(Difference(put=anybody))  # the control: under Cluster every node serves
            assert sandbox.run(ask) == {(BACKENDS4[0], f"{OTHER_NODE} {PORT}")}

    def test_is_read_back_by_the_next_agent(self, node: NodeDatapath) -> None:
        found = node.tables.serving(Frontend(ANY4, PORT, socket.IPPROTO_TCP))
        assert found == Serving(serving(*BACKENDS4[:2]).backends, own_node_only=True)
        assert node.tables.addresses.own == {pack_address(NODE4), pack_address(NODE6)}


def test_cluster_ips_are_served_beside_node_ports(sandbox: Sandbox, node: NodeDatapath) -> None:
    node.tables.apply(web())
    assert sandbox.run(lambda: ask_tcp(SERVICE4, 80))[1] == f"{SERVICE4} 80"
