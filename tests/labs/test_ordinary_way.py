"""Labs 02, 03 and 11: the ordinary way is seen whole, what goes another way is found, and afterwards nothing is left.

They have one deploy, which is built once for what is broken on purpose, and once for all of them.
"""

from collections.abc import Iterator

import pytest

from tests.labs.command import kill_in_the_middle, lab, run_whole
from tests.labs.state import state
from tests.support.cluster import Cluster, deploy
from tests.support.waiting import until

NODE_PORT = ("PREROUTING", "-p", "tcp", "--dport", "32000", "-j", "DNAT", "--to-destination", "10.244.2.3:8080")
ROUTES = {"10.244.0.0/24": "172.18.0.2", "10.244.2.0/24": "172.18.0.4"}  # as they are without flannel
LIMIT = 60.0


@pytest.fixture(scope="module")
def before(cluster: Cluster) -> Iterator[dict[str, str]]:
    """A cluster whose pods have their first addresses: the deploy of these labs makes pods anew."""
    deploy("teardown")
    deploy("cluster")
    yield state(cluster)
    lab("reset", "02")


def test_a_deploy_that_was_cut_off_is_finished_by_the_next_command(cluster: Cluster, before: dict[str, str]) -> None:
    node = cluster.node("cp")
    begun = ("test", "-e", "/run/baseline/etcd.pid")
    kill_in_the_middle("run", "02", "--step", "1", begun=lambda: node.run(*begun).returncode == 0, limit=LIMIT)
    assert cluster.node("w1").run("test", "-e", "/run/baseline/kube-proxy.pid").returncode, "it is half made"
    done = lab("run", "02", "--step", "2")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rule_that_is_not_kube_proxys_is_found(cluster: Cluster, before: dict[str, str]) -> None:
    w1 = cluster.node("w1")
    w1.output("iptables", "-t", "nat", "-I", *NODE_PORT)
    try:
        done = lab("run", "02", "--step", "3")
    finally:
        w1.output("iptables", "-t", "nat", "-D", *NODE_PORT)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "✗ this one goes to an address of the node" in done.stdout
    assert "✗ a connection passes them once, and none does through the hook" in done.stdout


def test_a_way_past_the_tunnel_is_found(cluster: Cluster, before: dict[str, str]) -> None:
    w1 = cluster.node("w1")
    for pods, node in ROUTES.items():
        w1.output("ip", "route", "add", pods, "via", node)
    try:
        done = lab("run", "02", "--step", "4")
    finally:
        for pods in ROUTES:
            w1.output("ip", "route", "delete", pods)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "is not in the capture 'tunnel'" in done.stdout.replace("\n    ", " ")


def test_a_socket_that_is_not_hooked_is_found(cluster: Cluster, before: dict[str, str]) -> None:
    """kube-proxy translates what the hook would have. What is broken is mended by the deploy of the next test."""
    assert lab("run", "03", "--step", "1").returncode == 0
    w1 = cluster.node("w1")
    w1.output("sh", "-c", "kill $(cat /run/socklb/agent.pid) && while socklb status >/dev/null; do sleep 0.1; done")
    w1.output("socklb", "cleanup")
    done = lab("run", "03", "--step", "3")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "✗ wire: the connection is with the pod that answers" in done.stdout
    assert "✗ rules: it passes none of the Service's" in done.stdout
    assert "✗ each packet: it stays as it was sent" in done.stdout


def test_every_claim_holds_and_afterwards_all_is_as_before(cluster: Cluster, before: dict[str, str]) -> None:
    said = run_whole("02", "03", "11")
    assert said.count("$ pyinfra inventory deploys/cluster.py") == 1
    until(lambda: state(cluster) == before)
