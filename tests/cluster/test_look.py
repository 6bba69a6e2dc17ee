"""Looking at a node of the local cluster: what is explained is what a connection there meets, and a report is whole."""

import json

import pytest

from tests.support.cluster import Cluster

REFUSED = 7  # curl: failed to connect
TARGETS = [
    "10.96.0.10:80",
    "[fd00:10:96::a]:80",
    "172.18.0.2:32000",
    "172.18.0.3:32000",
    "[fd00:172:18::4]:32000",
    "10.96.0.99:80",
    "[fd00:10:96::99]:80",
    "10.96.0.10:81",
]


def backends(cluster: Cluster, *, six: bool) -> set[str]:
    addresses = [cluster.addresses(f"web-{n}")[six] for n in (1, 2, 3)]
    return {f"[{address}]:8080" if six else f"{address}:8080" for address in addresses}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("who", ["pod", "node"])
def test_a_connection_meets_what_was_explained(cluster: Cluster, who: str, target: str) -> None:
    node, asks = cluster.node("w1"), cluster.pod("web-1") if who == "pod" else cluster.node("w1")
    told = json.loads(
        node.output("socklb", "explain", target, "--json", *(("--from", "/pods/web-1") if who == "pod" else ()))
    )
    met = asks.run("curl", "-gs", "--max-time", "5", f"http://{target}/")
    assert told["verdict"] == {0: "translated", REFUSED: "refused"}[met.returncode]
    if told["verdict"] == "translated":
        assert told["service"] == "default/web"
        assert set(told["backends"]) == backends(cluster, six="[" in target)
    assert told["differences"] == []


def test_a_refusal_says_why(cluster: Cluster) -> None:
    said = cluster.node("w2").output("socklb", "explain", "10.96.0.99:80").splitlines()[-1]
    assert said.startswith("ECONNREFUSED: Service default/empty has no ready endpoint: ")


def test_every_node_gives_a_whole_report(cluster: Cluster) -> None:
    for name, node in cluster.nodes.items():
        report = f"/run/socklb/{name}.tar.gz"
        try:
            told = node.run("socklb", "bugreport", "--output", report)
            assert told.returncode == 0, told.stderr
            assert {line for line in told.stderr.splitlines() if "flows.json" not in line} == set()
            inside = node.output("tar", "-xzOf", report, "--wildcards", "*/services.json", "*/log/socklb.log")
            assert "default/web" in inside
            assert "in sync" in inside
        finally:
            node.run("rm", "-f", report)
