"""Services as users reach them: curl, dig and plain sockets, from pods and from processes of the nodes.

One process in each place starts or asks all of them.
"""

import json

import pytest

from inventory.place import Place
from tests.support import workers
from tests.support.cluster import Cluster

WEB = {"web-1", "web-2", "web-3"}
CLUSTER_IPS = ["10.96.0.10", "[fd00:10:96::a]", "[::ffff:10.96.0.10]"]
NODE_ADDRESSES = ["172.18.0.2", "172.18.0.3", "172.18.0.4", "[fd00:172:18::2]", "[fd00:172:18::3]", "[fd00:172:18::4]"]
NODE_PORTS = [f"{address}:32000" for address in [*NODE_ADDRESSES, "[::ffff:172.18.0.4]"]]
DNS = ["10.96.0.53", "fd00:10:96::35"]  # dig itself passes IPv4-mapped servers over
CLIENTS = ["pod client", "pod client-2", "node cp", "node w1", "node w2"]

# Both take a question as tests/support/workers.py hands it over.
UNCONNECTED = """
import socket, struct
query = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + b"\\x06whoami\\x07example\\x04test\\0" + struct.pack(">2H", 16, 1)

def answer(servers):
    family = socket.AF_INET6 if ":" in servers[0] else socket.AF_INET
    seen = []
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        for address in servers * 3:
            client.sendto(query, (address, 53))
            data, source = client.recvfrom(512)
            seen.append([address, source[0], source[1], data[data.rindex(b"dns-"):].decode()])
    return seen
"""
PEER = """
import socket

def answer(target):
    with socket.create_connection(target, 5) as client:
        return client.getpeername()[:2]
"""


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, cluster: Cluster) -> Place:
    kind, name = request.param.split()
    return cluster.pod(name) if kind == "pod" else cluster.node(name)


def output(client: Place, *command: str) -> str:
    done = workers.run(client, *command)
    assert done.returncode == 0, f"exit code {done.returncode} from {command}: {done.stderr}"
    return done.stdout.rstrip("\n")


@pytest.mark.parametrize("target", [*CLUSTER_IPS, *NODE_PORTS])
def test_curl_reaches_the_web_service(client: Place, target: str) -> None:
    assert output(client, "curl", "-s", "--max-time", "5", f"http://{target}/") in WEB


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"], ids=["UDP", "TCP"])
@pytest.mark.parametrize("server", DNS)
def test_dig_gets_its_answer_from_the_service_address(client: Place, server: str, transport: str) -> None:
    """dig leaves out replies that come from another address than the one it asked."""
    asked = ["dig", "+tries=1", "+time=5", transport, f"@{server}", "txt", "whoami.example.test"]
    answer = output(client, *asked)
    assert '"dns-' in answer
    assert f"SERVER: {server}#53" in answer


@pytest.mark.parametrize("servers", [["10.96.0.53"], ["fd00:10:96::35"], ["::ffff:10.96.0.53", "fd00:10:96::35"]])
def test_an_unconnected_udp_socket_sees_the_service_as_source(client: Place, servers: list[str]) -> None:
    seen = workers.answer(client, UNCONNECTED, servers)
    assert [(source, port) for _, source, port, _ in seen] == [(server, 53) for server in servers * 3]


@pytest.mark.parametrize("target", ["10.96.0.10 80", "fd00:10:96::a 80", "::ffff:10.96.0.10 80", "172.18.0.4 32000"])
def test_getpeername_shows_what_was_asked_for(client: Place, target: str) -> None:
    address, port = target.split()
    assert workers.answer(client, PEER, [address, int(port)]) == [address, int(port)]


def test_every_backend_gets_its_share(client: Place) -> None:
    urls = ["http://10.96.0.10/"] * 60
    answers = output(client, "curl", "-s", "--max-time", "20", *urls).split()
    assert {answers.count(name) > 5 for name in WEB} == {True}


@pytest.mark.parametrize("target", ["10.96.0.99", "[fd00:10:96::99]", "10.96.0.10:81", "[fd00:10:96::a]:81"])
def test_no_endpoints_and_unknown_ports_are_refused_at_once(client: Place, target: str) -> None:
    refused = workers.run(client, "curl", "-s", "--max-time", "5", f"http://{target}/")
    assert refused.returncode == 7, "curl: failed to connect; 28 would be a time-out"


def test_status_is_effective_on_every_node(cluster: Cluster) -> None:
    for node in cluster.nodes.values():
        status = json.loads(node.output("socklb", "status", "--json"))
        assert status["synced"]
        assert status["problems"] == []
        assert len(status["hooks"]) == 11
        assert all(hook["attached"] and hook["effective"] for hook in status["hooks"])
