"""The packet path in eBPF on the local cluster: it takes over from nftables, serves, is mended, and gives back."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.cluster import Cluster, Place, deploy
from tests.support.netexec import Request, ask
from tests.support.outside import NODES, OUTSIDE, SHOWN, shown
from tests.support.waiting import until

FAMILIES = pytest.mark.parametrize("family", [pytest.param(0, id="v4"), pytest.param(1, id="v6")])
KINDS = pytest.mark.parametrize("kind", ["http", "udp"])
# Holds a connection, and asks over it again for each line that it reads.
HOLD = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=10)
for _ in sys.stdin:
    connection.request("GET", "/hostname")
    print(connection.getresponse().read().decode(), flush=True)
"""


@pytest.fixture(scope="module", autouse=True)
def _ebpf(cluster: Cluster) -> Iterator[None]:
    with shown(cluster):
        deploy("agent", "--data", "packet_path=ebpf")
        try:
            until(lambda: all(path(cluster.node(node))["whole"] for node in NODES))
            yield
        finally:
            deploy("agent")
            until(lambda: not any(programs(cluster.node(node)) for node in NODES))


def programs(node: Place) -> str:
    """Name the folder of what an agent attached to devices."""
    return node.output("sh", "-c", "ls -d /sys/fs/bpf/socklb/v*/tc || true")


def path(node: Place) -> dict[str, Any]:
    return json.loads(node.output("socklb", "status", "--json"))["packet_path"]


@FAMILIES
@KINDS
@pytest.mark.parametrize("node", NODES)
def test_outside_reaches_a_node_port_at_every_node(cluster: Cluster, node: str, kind: str, family: int) -> None:
    """A pod of the node sees the client itself, one of another node sees the node."""
    (seen,) = ask(cluster.node("outside"), Request(kind, NODES[node][family], SHOWN, "clientip"))
    assert seen == (OUTSIDE if node == "w2" else NODES[node])[family]


@pytest.mark.parametrize("name", NODES)
def test_a_client_outside_is_played_by_check(cluster: Cluster, name: str) -> None:
    done = cluster.node(name).run(["socklb", "check", "--json"])
    found = [row for row in json.loads(done.stdout) if row["check"] in {"packet path", "from outside"}]
    assert {(row["check"], row["verdict"]) for row in found} == {("packet path", "passed"), ("from outside", "passed")}
    assert {row["subject"].rpartition(" at ")[2] for row in found[1:]} == {"eth0"}
    assert done.returncode == 0


@pytest.mark.parametrize("address", ["10.96.0.10", "[fd00:10:96::a]"])
def test_an_unhooked_process_of_a_pod_reaches_a_cluster_ip(cluster: Cluster, address: str) -> None:
    """No node has a default route, by which what it asks would come to an uplink."""
    asked = ["curl", "-gs", "--max-time", "20", *[f"http://{address}/"] * 30]
    answers = cluster.pod("client").output(*asked, hooked=False).split()
    assert set(answers) == {"web-1", "web-2", "web-3"}


def flows(node: Place, clients: list[str]) -> dict[str, str]:
    """The Services of clients' flows, by client and port."""
    found = (json.loads(node.output("socklb", "flow", "list", "--client", one, "--json")) for one in clients)
    return {flow["client"]: flow["service"].rpartition("/")[2] for flows in found for flow in flows}


def test_hooks_that_leave_pods_alone_have_their_sockets_served_at_their_devices(cluster: Cluster) -> None:
    node, client, own = cluster.node("w1"), cluster.pod("client"), cluster.addresses("client")
    asked = ["curl", "-gs", "--max-time", "20", "http://10.96.0.10/", "http://[fd00:10:96::a]/"]
    before = flows(node, own)
    try:
        assert "web" in client.output(*asked)
        assert flows(node, own) == before, "the control: by hooks"
        deploy("agent", "--data", "packet_path=ebpf", "--data", "pod_sockets=false")
        until(lambda: path(node)["by"] == "ebpf" and path(node)["whole"])
        assert "web" in client.output(*asked)
        new = flows(node, own).items() - before.items()
        assert [service for _, service in new] == ["web", "web"]
    finally:
        deploy("agent", "--data", "packet_path=ebpf")


def test_a_program_that_somebody_took_away_is_told_and_put_back(cluster: Cluster) -> None:
    node = cluster.node("w1")
    before = path(node)["damages"]
    node.output("sh", "-c", "rm /sys/fs/bpf/socklb/v*/tc/links/uplink_in-*")
    until(lambda: path(node)["damages"] > before and path(node)["whole"], 10)
    assert "not pinned: uplink_in" in path(node)["damage"]


def test_flows_are_listed(cluster: Cluster) -> None:
    ask(cluster.node("outside"), Request("http", NODES["w1"][0], SHOWN, "hostname"))
    assert {*flows(cluster.node("w1"), OUTSIDE[:1]).values()} == {"shown"}


def test_one_path_takes_over_from_the_other_without_ending_a_connection(cluster: Cluster) -> None:
    deploy("agent")
    node, outside = cluster.node("w1"), cluster.node("outside")
    until(lambda: path(node)["by"] == "nftables" and path(node)["whole"])
    until(lambda: not programs(node), 20)
    argv = outside.argv(["python3", "-Ic", HOLD, NODES["w1"][0], str(SHOWN)])
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holding:

        def answer() -> str:
            assert holding.stdin
            assert holding.stdout
            print(file=holding.stdin, flush=True)
            return holding.stdout.readline().strip()

        assert answer() == "client-2"
        deploy("agent", "--data", "packet_path=ebpf")
        until(lambda: path(node)["by"] == "ebpf" and path(node)["whole"])
        assert answer() == "client-2"
        assert "table inet socklb" in node.output("nft", "list", "tables")
        assert ask(outside, Request("http", NODES["w1"][0], SHOWN, "clientip")) == [NODES["w1"][0]]
        holding.kill()
