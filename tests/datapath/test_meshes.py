"""Proxies that take connections on their way: a service mesh's in a pod (REDIRECT), a transparent one on the node.

They ask the kernel which Service was asked for. A hook has answered that before there is a packet, so with
`pod_sockets = false` it leaves pods' sockets to the packet path.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rig.sandbox import PORT, Sandbox, ask_tcp, mounted_bpffs, sh
from socklb.datapath.features import NETNS_COOKIE, netns_cookie
from socklb.datapath.node_datapath import NodeDatapath
from socklb.model import Difference
from tests.datapath.loaded import this_node
from tests.datapath.services import frontend, serving
from tests.datapath.test_node_ports import in_a_pod
from tests.datapath.test_odd_sockets import HOOKED_ONLY, POD, PROTOCOLS, UDP, V

pytestmark = pytest.mark.needs(NETNS_COOKIE)
SO_ORIGINAL_DST, IP_TRANSPARENT = 80, 19
PROXY_PORT, DNS_PROXY_PORT = 15001, 15053
CLIENT, GATEWAY = "10.244.9.2", "10.244.9.1"
WHERE = pytest.mark.parametrize("hooked", [True, False], ids=["hooked", "control"])


@pytest.fixture(params=[False, True], ids=["pods' sockets by packets", "pods' sockets by hooks"])
def pod_sockets(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def node(sandbox: Sandbox, objects: Path, tmp_path: Path, pod_sockets: bool) -> Iterator[NodeDatapath]:
    with (
        mounted_bpffs(tmp_path / "bpffs") as bpffs,
        NodeDatapath(bpffs, sandbox.cgroup, objects, packets=True, pod_sockets=pod_sockets) as found,
    ):
        this_node(found, sandbox.run(netns_cookie))
        put = {frontend(vip, protocol): serving(POD) for vip in (V, HOOKED_ONLY) for protocol in PROTOCOLS}
        found.tables.apply(Difference(put=put))
        found.attach()
        yield found
        found.pins.remove()


def original(taken: socket.socket) -> tuple[str, int]:
    """Return whom a connection was for before REDIRECT, as a proxy asks the kernel."""
    port, address = struct.unpack("!2xH4s8x", taken.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16))
    return socket.inet_ntoa(address), port


def redirected(kind: str, port: int, to: int) -> None:
    """Lead what this network sends to a proxy, as a mesh's init container does."""
    sh("ip", "address", "add", CLIENT, "dev", "lo")
    sh("ip", "route", "add", "default", "dev", "lo", "src", CLIENT)
    match = ("-p", kind, "--dport", str(port)) if kind == "udp" else ("-p", kind)
    sh("iptables", "-t", "nat", "-A", "OUTPUT", *match, "-j", "REDIRECT", "--to-ports", str(to))


def asked_of_a_sidecar() -> tuple[str, int]:
    redirected("tcp", 80, PROXY_PORT)
    with socket.create_server(("127.0.0.1", PROXY_PORT)) as proxy, socket.create_connection((V, 80), 5) as client:
        assert client.getpeername() == (V, 80)
        with proxy.accept()[0] as taken:
            return original(taken)


@WHERE
def test_a_sidecar_sees_the_service_where_the_packet_path_serves_pods(
    sandbox: Sandbox, node: NodeDatapath, pod_sockets: bool, hooked: bool
) -> None:
    chosen_before = pod_sockets and hooked
    assert in_a_pod(sandbox, asked_of_a_sidecar, hooked=hooked) == ((POD, PORT) if chosen_before else (V, 80))


def answered_by_a_dns_proxy() -> tuple[bytes, tuple[str, int]]:
    """Ask over UDP in a pod whose proxy takes what is for the Service's port, if it still is for that."""
    redirected("udp", 80, DNS_PROXY_PORT)
    with socket.socket(socket.AF_INET, UDP) as proxy, socket.socket(socket.AF_INET, UDP) as client:
        proxy.bind(("127.0.0.1", DNS_PROXY_PORT))
        for one in (proxy, client):
            one.settimeout(1)
        client.sendto(b"?", (V, 80))
        proxy.sendto(b"proxy", proxy.recvfrom(10)[1])
        return client.recvfrom(10)


@WHERE
@pytest.mark.parametrize("pod_sockets", [False], indirect=True)
def test_a_dns_proxy_in_a_pod_is_asked_and_answers_for_the_service(
    sandbox: Sandbox, node: NodeDatapath, hooked: bool
) -> None:
    assert in_a_pod(sandbox, answered_by_a_dns_proxy, hooked=hooked) == (b"proxy", (V, 80))


def test_sockets_of_the_node_are_served_by_hooks_either_way(
    sandbox: Sandbox, node: NodeDatapath, pod_sockets: bool
) -> None:
    assert sandbox.run(lambda: ask_tcp(HOOKED_ONLY, 80)) == (POD, f"{HOOKED_ONLY} 80")


def test_a_socket_of_a_pod_is_left_as_it_is(sandbox: Sandbox, node: NodeDatapath, pod_sockets: bool) -> None:
    def peer() -> str:
        sh("ip", "route", "add", "default", "dev", "lo")
        with socket.socket(socket.AF_INET, UDP) as client:
            client.connect((HOOKED_ONLY, 80))
            return Path("/proc/self/net/udp").read_text()

    there = HOOKED_ONLY if not pod_sockets else POD
    wanted = socket.inet_aton(there)[::-1].hex().upper()
    assert wanted in str(in_a_pod(sandbox, peer))


def transparent_proxy() -> None:
    """Answer who was asked, and what the Service says to the proxy itself; never returns."""
    with socket.socket() as proxy:
        proxy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        proxy.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
        proxy.bind(("0.0.0.0", PROXY_PORT))
        proxy.listen()
        while True:
            taken, _ = proxy.accept()
            asked = taken.getsockname()
            with taken, socket.create_connection(asked, 5) as upstream:
                taken.sendall(f"{asked[0]}:{asked[1]} by {upstream.recv(100).decode()}".encode())


@pytest.fixture
def transparent(sandbox: Sandbox) -> Iterator[None]:
    """What comes from pods for the Service is the transparent proxy's, which runs on the node in its cgroup."""
    rule = ("PREROUTING", "-i", "pod", "-p", "tcp", "-d", V, "--dport", "80", "-j", "TPROXY")
    on = ("ip", "netns", "exec", sandbox.name)
    sh(*on, "iptables", "-t", "mangle", "-A", *rule, "--on-port", str(PROXY_PORT), "--tproxy-mark", "1")
    sh("ip", "-n", sandbox.name, "rule", "add", "fwmark", "1", "lookup", "100")
    sh("ip", "-n", sandbox.name, "route", "add", "local", "default", "dev", "lo", "table", "100")
    job = sandbox.start(transparent_proxy)
    yield
    job.kill()
    sh("ip", "-n", sandbox.name, "route", "flush", "table", "100")
    sh("ip", "-n", sandbox.name, "rule", "del", "fwmark", "1")
    sh(*on, "iptables", "-t", "mangle", "-F")


def ask_from_a_wired_pod(sandbox: Sandbox) -> Callable[[], str]:
    """Return a program that wires its network to the node, as a CNI plugin does, and asks the Service."""

    def ask() -> str:
        sh("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "pod", "netns", sandbox.name)
        sh("ip", "address", "add", f"{CLIENT}/24", "dev", "eth0")
        sh("ip", "link", "set", "eth0", "up")
        sh("ip", "-n", sandbox.name, "address", "add", f"{GATEWAY}/24", "dev", "pod")
        sh("ip", "-n", sandbox.name, "link", "set", "pod", "up")
        sh("ip", "route", "add", "default", "via", GATEWAY)
        with socket.create_connection((V, 80), 5) as client:
            return client.recv(100).decode()

    return ask


@WHERE
def test_a_transparent_proxy_on_the_node_takes_what_pods_ask_of_a_service(
    sandbox: Sandbox, node: NodeDatapath, transparent: None, pod_sockets: bool, hooked: bool
) -> None:
    """And asks it itself, by a hook. Where hooks serve pods, no packet is for the Service, and the pod is reached."""
    expected = POD if pod_sockets and hooked else f"{V}:80 by {POD}"
    assert in_a_pod(sandbox, ask_from_a_wired_pod(sandbox), hooked=hooked) == expected
