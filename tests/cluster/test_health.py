"""Health checks as a load balancer asks for them: from the machine outside, at the nodes' addresses."""

import json
from collections.abc import Iterator

import pytest

from inventory.place import Place
from tests.support.cluster import Cluster

PORT = 31900
FILE = "/etc/socklb/manifests/health-check.yaml"
NODES = {"w1": ["172.18.0.3", "[fd00:172:18::3]"], "w2": ["172.18.0.4", "[fd00:172:18::4]"]}


def manifests(policy: str) -> str:
    """A Service with one endpoint, on w1."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "health-check"},
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "10.96.0.190",
            "externalTrafficPolicy": policy,
            "healthCheckNodePort": PORT,
            "ports": [{"port": 80}],
        },
    }
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "health-check-1", "labels": {"kubernetes.io/service-name": "health-check"}},
        "addressType": "IPv4",
        "ports": [{"port": 8080}],
        "endpoints": [{"addresses": ["10.244.1.2"], "nodeName": "w1"}],
    }
    return f"{json.dumps(service)}\n---\n{json.dumps(slice_)}\n"


@pytest.fixture
def served(cluster: Cluster) -> Iterator[Cluster]:
    put(cluster, "Local")
    yield cluster
    for name in NODES:
        cluster.node(name).output("rm", "-f", FILE)


def put(cluster: Cluster, policy: str) -> None:
    for name in NODES:
        done = cluster.node(name).run("sh", "-c", f"cat >{FILE}.new && mv {FILE}.new {FILE}", given=manifests(policy))
        assert done.returncode == 0, done.stderr


def ask(outside: Place, url: str) -> str:
    """Return the status as curl has it, 000 where nobody listens; asked again while the change is on its way."""
    asked = ["curl", "-gs", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code}", url]
    return outside.run(*asked).stdout


def answers(cluster: Cluster, expected: dict[str, str]) -> dict[str, str]:
    """Return each node's answer at each of its addresses, once they are as expected or after 10 s."""
    outside = cluster.node("outside")
    for _ in range(100):
        found = {n: "/".join(ask(outside, f"http://{a}:{PORT}/") for a in NODES[n]) for n in NODES}
        if found == expected:
            break
    return found


def test_the_load_balancer_learns_which_nodes_have_endpoints(served: Cluster) -> None:
    expected = {"w1": "200/200", "w2": "503/503"}
    assert answers(served, expected) == expected


def test_with_the_policy_cluster_nobody_listens_there(served: Cluster) -> None:
    here = {"w1": "200/200", "w2": "503/503"}
    assert answers(served, here) == here
    put(served, "Cluster")
    closed = {"w1": "000/000", "w2": "000/000"}
    assert answers(served, closed) == closed


@pytest.mark.parametrize("path", ["healthz", "livez"])
def test_every_node_is_healthy_to_the_machine_outside(cluster: Cluster, path: str) -> None:
    for addresses in NODES.values():
        for address in addresses:
            assert ask(cluster.node("outside"), f"http://{address}:10256/{path}") == "200"


def test_the_urls_of_kube_proxy_answer_on_the_node(cluster: Cluster) -> None:
    """Kubernetes' e2e test "should check kube-proxy urls"."""
    node = cluster.node("w1")
    assert "lastUpdated" in node.output("curl", "-sf", "--max-time", "5", "http://127.0.0.1:10256/healthz")
    assert node.output("curl", "-sf", "--max-time", "5", "http://127.0.0.1:10249/proxyMode") == "socklb"
    assert "socklb_services " in node.output("curl", "-sf", "--max-time", "5", "http://127.0.0.1:10249/metrics")


def test_metrics_are_not_told_outside_the_node(cluster: Cluster) -> None:
    assert ask(cluster.node("outside"), "http://172.18.0.3:10249/metrics") == "000"
    assert ask(cluster.node("outside"), "http://172.18.0.3:10256/healthz") == "200"
