"""`socklb.io/on-removal: reset` on a node as it is deployed: pods' sockets and clients outside are told at once."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from inventory.place import Place
from tests.support.cluster import Cluster
from tests.support.manifests import Endpoint, Manifests, documents, port
from tests.support.netexec import end, serve
from tests.support.outside import NODES

RESET, PLAIN = ["10.96.0.231", 31831], ["10.96.0.232", 31832]
# Waits for an answer that never comes; the server ends what says nothing after five seconds.
WAITS = """
import errno, socket, sys
one = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
print("connected", flush=True)
try:
    print("closed" if one.recv(1) == b"" else "?")
except OSError as error:
    print(errno.errorcode[error.errno])
"""


@pytest.fixture
def folder(cluster: Cluster) -> Iterator[Manifests]:
    found = Manifests(cluster, "on-removal.yaml")
    server = serve(cluster.pod("client-2"), "client-2", cluster.addresses("client-2"), [8080])
    try:
        yield found
    finally:
        found.clear()
        end(server)


def services(*endpoints: Endpoint) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for name, (ip, node_port), annotations in (
        ("reset", RESET, {"socklb.io/on-removal": "reset"}),
        ("plain", PLAIN, {}),
    ):
        spec = {"type": "NodePort", "clusterIP": ip}
        found = documents(name, endpoints, [port(80, node_port=int(node_port))], **spec)
        found[0]["metadata"]["annotations"] = annotations
        yield name, found


def waiting(place: Place, address: object, number: object) -> subprocess.Popen[str]:
    words = ["python3", "-Ic", WAITS, str(address), str(number)]
    process = subprocess.Popen(place.argv(*words), stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "connected\n"
    return process


def test_who_waits_for_an_endpoint_that_is_gone_is_told(cluster: Cluster, folder: Manifests) -> None:
    """Beside those of a Service that does not ask for it."""
    for name, found in services(Endpoint(cluster.addresses("client-2"), "w2")):
        folder.put(name, found)
    pod, outside = cluster.pod("client"), cluster.node("outside")
    asked = [(ip, node_port) for ip, node_port in (RESET, PLAIN)]
    clients = [waiting(pod, ip, 80) for ip, _ in asked] + [waiting(outside, NODES["w1"][0], port) for _, port in asked]
    for name, found in services():
        folder.put(name, found)
    told = [client.communicate(timeout=20)[0].strip() for client in clients]
    assert told == ["ECONNABORTED", "closed", "ECONNRESET", "closed"]
