"""bind() on the node: refused where a Service would take what comes there, and nowhere else."""

from __future__ import annotations

import errno
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest

from rig.sandbox import BACKENDS4, BACKENDS6, NODE4, NODE6, Sandbox, sh
from socklb.datapath.features import SET_ERRNO, netns_cookie
from socklb.datapath.node_datapath import NodeDatapath
from socklb.model import ANY4, ANY6, Addresses, Backend, Difference, Frontend, Serving, pack_address
from tests.datapath.loaded import this_node
from tests.datapath.services import frontend, serving
from tests.datapath.test_node_ports import PROTOCOLS, bind, error_of, family

pytestmark = pytest.mark.needs(SET_ERRNO)  # without it no bind() is refused
FIRST, LAST = 40000, 40015
V = "10.96.77.1"
KINDS = pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["TCP", "UDP"])


@pytest.fixture
def node(sandbox: Sandbox, datapath: NodeDatapath) -> NodeDatapath:
    this_node(datapath, sandbox.run(netns_cookie))
    own = frozenset(map(pack_address, (NODE4, NODE6)))
    datapath.tables.apply(Difference(add=Addresses(nodes=own, own=own)))
    return datapath


def served_at(node: NodeDatapath, where: dict[Frontend, Serving]) -> None:
    node.tables.apply(Difference(put=where))


@KINDS
class TestAServicesOwnServer:
    """It runs in the node's network and has restarted; its address may be the very one that clients ask."""

    @pytest.mark.parametrize("address", [NODE4, NODE6])
    def test_binds_the_services_address_where_it_is_an_endpoint(
        self, sandbox: Sandbox, node: NodeDatapath, address: str, kind: socket.SocketKind
    ) -> None:
        server = Serving((Backend(pack_address(BACKENDS4[0]), 9), Backend(pack_address(address), 8087)))
        served_at(node, {frontend(address, protocol, 8087): server for protocol in PROTOCOLS})
        assert sandbox.run(lambda: error_of(bind(address, 8087, kind))) is None

    @pytest.mark.parametrize("address", [NODE4, "0.0.0.0", "::", "127.0.0.1"])
    def test_binds_while_it_is_not_ready(
        self, sandbox: Sandbox, node: NodeDatapath, address: str, kind: socket.SocketKind
    ) -> None:
        others = serving(BACKENDS4[0])._replace(may_be_bound=True)
        put = {f: others for p in PROTOCOLS for f in (frontend(NODE4, p, 32020), Frontend(ANY4, 32020, p))}
        served_at(node, put)
        assert sandbox.run(lambda: error_of(bind(address, 32020, kind))) is None

    def test_of_another_port_or_address_does_not_let_anybody_bind(
        self, sandbox: Sandbox, node: NodeDatapath, kind: socket.SocketKind
    ) -> None:
        there = Serving((Backend(pack_address(NODE4), 8088), Backend(pack_address("172.18.0.3"), 8087)))
        served_at(node, {frontend(NODE4, protocol, 8087): there for protocol in PROTOCOLS})
        assert sandbox.run(lambda: error_of(bind(NODE4, 8087, kind))) == errno.EADDRINUSE


@pytest.fixture
def few_ports(sandbox: Sandbox) -> Iterator[None]:
    """Have the sandbox's own network choose among a few ports alone."""
    name = "net.ipv4.ip_local_port_range"
    inside = ("ip", "netns", "exec", sandbox.name, "sysctl", "-n")
    before = subprocess.run([*inside, name], check=True, capture_output=True, text=True).stdout.strip()
    sh(*inside, "-w", f"{name}={FIRST} {LAST}")
    yield
    sh(*inside, "-w", f"{name}={before}")


def bind_to_any_port(kind: socket.SocketKind, address: str) -> int:
    """Let the kernel choose."""
    with socket.socket(family(address), kind) as server:
        server.bind((address, 0))
        return server.getsockname()[1]


@KINDS
@pytest.mark.parametrize("address", ["0.0.0.0", "::", NODE4, "127.0.0.1"])
def test_a_port_that_the_kernel_chooses_is_never_refused(
    sandbox: Sandbox, node: NodeDatapath, few_ports: None, kind: socket.SocketKind, address: str
) -> None:
    """As beside kube-proxy. The only way to find another one would be to reserve NodePorts on the whole node."""
    ports = range(FIRST, LAST + 1)
    at = [Frontend(any_, port, protocol) for any_ in (ANY4, ANY6) for port in ports for protocol in PROTOCOLS]
    served_at(node, dict.fromkeys(at, serving(BACKENDS4[0])))
    assert sandbox.run(lambda: {bind_to_any_port(kind, address) for _ in range(200)}) <= set(ports)
    assert sandbox.run(lambda: error_of(bind(address, FIRST, kind))) == errno.EADDRINUSE  # one that is asked for


@KINDS
def test_an_ipv6_only_listener_may_have_the_node_port_of_an_ipv4_service(
    sandbox: Sandbox, node: NodeDatapath, kind: socket.SocketKind
) -> None:
    served_at(node, {Frontend(ANY4, 32020, protocol): serving(BACKENDS4[0]) for protocol in PROTOCOLS})
    served_at(node, {Frontend(ANY6, 32021, protocol): serving(BACKENDS6[0]) for protocol in PROTOCOLS})

    def bind_with(only: int, port: int) -> Callable[[], None]:
        def work() -> None:
            with socket.socket(socket.AF_INET6, kind) as server:
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
                server.bind(("::", port))

        return work

    errors = sandbox.run(
        lambda: [error_of(bind_with(only, port)) for only, port in ((1, 32020), (0, 32020), (1, 32021))]
    )
    assert errors == [None, errno.EADDRINUSE, errno.EADDRINUSE]


@KINDS
def test_a_cluster_ip_that_the_node_has_on_a_device_can_be_bound(
    sandbox: Sandbox, node: NodeDatapath, kind: socket.SocketKind
) -> None:
    """As NodeLocal DNSCache does with kube-dns'. Where the node has it not, the kernel says so."""
    at = {
        frontend(address, protocol, 53): serving(BACKENDS4[0])
        for address in (V, BACKENDS4[3])
        for protocol in PROTOCOLS
    }
    node.tables.apply(Difference(put=at, add=Addresses(services=frozenset(map(pack_address, (V, BACKENDS4[3]))))))
    assert sandbox.run(lambda: error_of(bind(BACKENDS4[3], 53, kind))) is None
    assert sandbox.run(lambda: error_of(bind(V, 53, kind))) == errno.EADDRNOTAVAIL
