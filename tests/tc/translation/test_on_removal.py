"""Flows whose backend is gone are reset, where their Service says so: both ends are told, and no other flow is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from socklb.model import ANY4, ANY6, Backend, Frontend, Serving, pack_address
from socklb.tc.flows import state
from socklb.tc.resets import reset_flows
from tests.packets.network import ADDRESSES, NODE, NODE6, PODS, PODS6, Network
from tests.tc.translation.conftest import Ask, Node, frontend, names, serving

pytestmark = pytest.mark.usefixtures("default_routes")
SERVICE, SERVICE6 = "10.96.0.10", "fd00:10:96::a"
HOLDING = 8090
# Both keep a connection and say what ends it: TALKS sends all the time, WAITS never.
TALKS = """
import errno, time
for _ in range(1000):
    try:
        one.send(b".")
    except OSError as error:
        print(errno.errorcode[error.errno], flush=True)
        break
    time.sleep(0.01)
"""
WAITS = """
import errno
one.settimeout(10)
try:
    while one.recv(1000):
        pass
    print("closed", flush=True)
except TimeoutError:
    print("stays", flush=True)
except OSError as error:
    print(errno.errorcode[error.errno], flush=True)
"""
CLIENT = """
import socket, sys
address, port, own = sys.argv[1], *map(int, sys.argv[2:])
one = socket.create_connection((address, port), 5, source_address=("", own))
print("connected", flush=True)
"""
SERVER = """
import socket, sys, threading
def serve(listener, text):
    while True:
        threading.Thread(target=exec, args=(text, {"one": listener.accept()[0]}), daemon=True).start()
for address in sys.argv[2:]:
    listener = socket.create_server((address, 8090), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
    threading.Thread(target=serve, args=(listener, sys.argv[1])).start()
print("ready", flush=True)
"""


def told(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


@pytest.fixture(scope="module")
def servers(network: Network) -> dict[str, subprocess.Popen[bytes]]:
    """Each pod keeps connections and talks."""
    return {
        pod: network.start(pod, sys.executable, "-c", SERVER, TALKS, PODS[pod], PODS6[pod], ready="ready")
        for pod in PODS
    }


@pytest.fixture
def connect(network: Network) -> Callable[..., subprocess.Popen[bytes]]:
    def start(place: str, address: str, port: int, how: str = WAITS, own: int = 0) -> subprocess.Popen[bytes]:
        return network.start(place, sys.executable, "-c", CLIENT + how, address, str(port), str(own), ready="connected")

    return start


def at(pod: str, *, six: bool = False) -> Serving:
    return Serving((Backend(pack_address((PODS6 if six else PODS)[pod]), HOLDING),))


def reset(network: Network, node: Node, *gone: Frontend) -> int:
    """Reset the flows of frontends whose backends are gone."""
    frontends = {Backend(one.address, one.port) for one in gone}
    with network.inside("node"):
        return reset_flows(node.programs, node.maps, lambda asked, _: asked in frontends)


@pytest.mark.parametrize("how", [WAITS, TALKS], ids=["waits", "talks"])
@pytest.mark.parametrize(
    ("address", "pod"), [(NODE, "a"), (NODE, "far"), (NODE6, "a"), (NODE6, "far")], ids=["IPv4", "far", "IPv6", "far6"]
)
def test_both_ends_of_a_clients_flow_from_outside_are_told(
    network: Network,
    node: Node,
    servers: dict[str, subprocess.Popen[bytes]],
    connect: Callable[..., subprocess.Popen[bytes]],
    address: str,
    pod: str,
    how: str,
) -> None:
    """And a flow to the same backend by another Service goes on."""
    six = ":" in address
    any_address = ANY6 if six else ANY4
    node.sync({Frontend(any_address, 32000, 6): at(pod, six=six), Frontend(any_address, 32001, 6): at(pod, six=six)})
    led, other = connect("client", address, 32000, how), connect("client", address, 32001, WAITS)
    assert reset(network, node, frontend(address, 32000)) == 1
    assert told(led) == "ECONNRESET"
    assert told(servers[pod]) == "ECONNRESET"
    assert sorted(state(flow) for flow in node.flows()) == ["established", "reset"]
    assert reset(network, node, frontend(address, 32000)) == 0, "it was reset before"
    assert other.poll() is None
    assert reset(network, node, frontend(address, 32001)) == 1
    assert (told(other), told(servers[pod])) == ("ECONNRESET", "ECONNRESET"), "the control"


@pytest.mark.parametrize(("address", "six"), [(SERVICE, False), (SERVICE6, True)], ids=["IPv4", "IPv6"])
def test_pods_that_no_hook_sees_are_told(
    network: Network,
    node: Node,
    servers: dict[str, subprocess.Popen[bytes]],
    connect: Callable[..., subprocess.Popen[bytes]],
    address: str,
    six: bool,
) -> None:
    node.sync({frontend(address): at("b", six=six)}, ADDRESSES)
    with node.pods_at("a"), node.pods_at("b"):
        led = connect("a", address, 80)
        assert reset(network, node, frontend(address)) == 1
        assert told(led) == "ECONNRESET"


def test_processes_of_the_node_are_told(
    network: Network,
    node: Node,
    servers: dict[str, subprocess.Popen[bytes]],
    connect: Callable[..., subprocess.Popen[bytes]],
) -> None:
    node.sync({frontend(SERVICE): at("far")}, ADDRESSES)
    led = connect("node", SERVICE, 80)
    assert reset(network, node, frontend(SERVICE)) == 1
    assert told(led) == "ECONNRESET"


def test_the_same_port_may_connect_anew(
    network: Network,
    node: Node,
    servers: dict[str, subprocess.Popen[bytes]],
    connect: Callable[..., subprocess.Popen[bytes]],
    ask: Ask,
) -> None:
    node.sync({Frontend(ANY4, 32000, 6): at("a")})
    led = connect("client", NODE, 32000, own=45678)
    assert reset(network, node, frontend(NODE, 32000)) == 1
    assert told(led) == "ECONNRESET"
    node.sync({Frontend(ANY4, 32000, 6): serving("b")})
    assert names(ask("client", NODE, 32000, own=45678)) == {"b"}
