"""Pods: the network between them, and the cgroup that they are in."""

import os
import subprocess

import pytest

from tests.support.cluster import Cluster
from tests.support.waiting import until

FAMILIES = [pytest.param(0, id="v4"), pytest.param(1, id="v6")]


def url(address: str) -> str:
    return f"http://[{address}]:8080/" if ":" in address else f"http://{address}:8080/"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("client", ["client", "client-2"])
@pytest.mark.parametrize("server", ["web-1", "web-2", "web-3"])
def test_a_pod_reaches_the_pods_of_every_node(cluster: Cluster, client: str, server: str, family: int) -> None:
    address = cluster.addresses(server)[family]
    assert cluster.pod(client).output("curl", "-s", "--max-time", "5", url(address)) == server


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_a_pod_asks_the_dns_pods(cluster: Cluster, transport: str, family: int) -> None:
    address = cluster.addresses("dns-2")[family]
    ask = ["dig", "+short", transport, f"@{address}"]
    assert cluster.pod("client").output(*ask, "txt", "whoami.example.test") == '"dns-2"'
    assert cluster.pod("client").output(*ask, "a", "web.example.test") == "10.96.0.10"
    assert cluster.pod("client").output(*ask, "aaaa", "web.example.test") == "fd00:10:96::a"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_node_reaches_pods(cluster: Cluster, family: int) -> None:
    address = cluster.addresses("web-2")[family]
    assert cluster.node("cp").output("curl", "-s", "--max-time", "5", url(address)) == "web-2"


def test_a_command_in_a_pod_is_in_the_pods_cgroup_and_in_its_network(cluster: Cluster) -> None:
    client = cluster.pod("client")
    assert "0::/pods/client" in client.output("cat", "/proc/self/cgroup").splitlines()
    assert cluster.addresses("client")[0] in client.output("ip", "-4", "-brief", "address")


def test_an_unhooked_command_is_in_the_pods_network_but_in_no_cgroup_of_the_node(cluster: Cluster) -> None:
    client = cluster.pod("client")
    assert "0::/../.unhooked" in client.output("cat", "/proc/self/cgroup", hooked=False).splitlines()
    same = ("readlink", "/proc/self/ns/net")
    assert client.output(*same, hooked=False) == client.output(*same)


def test_a_command_in_an_unknown_pod_names_the_pods_there_are(cluster: Cluster) -> None:
    done = cluster.node("w1").run("pod", "exec", "clinet", "--", "true")
    assert done.returncode == 1
    assert done.stderr == "pod exec: no pod 'clinet' here. Valid: client, dns-1, web-1\n"


def test_the_callers_environment_does_not_reach_into_a_node(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:3128")
    assert "http_proxy" in os.environ
    assert "http_proxy" not in cluster.node("w1").output("env")


def test_ending_the_local_command_ends_the_one_in_the_pod(cluster: Cluster) -> None:
    node = cluster.node("w1")
    sleeping = subprocess.Popen(cluster.pod("client").argv("sleep", "98765"))
    until(lambda: "98765" in node.output("ps", "-e", "-o", "args"))
    sleeping.terminate()
    sleeping.wait(5)
    until(lambda: "98765" not in node.output("ps", "-e", "-o", "args"))
