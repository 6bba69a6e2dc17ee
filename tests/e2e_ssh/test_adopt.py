"""deploys/adopt.py over SSH: a cluster with a kube-proxy of kubeadm's and a network of somebody else is taken over."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from inventory.group_data.kind import tools_image
from tests.support.bare_metal import BareMetal
from tests.support.cluster import changes
from tests.support.hammer import hammering
from tests.support.kubernetes import Kubernetes
from tests.support.sealed import docker
from tests.support.takeover import (
    RULES,
    assert_taken_over,
    kept_connection,
    remove_socklb,
    their_network,
    with_a_rule_that_iptables_cannot_read,
    without_rules_of_others,
)

SYSTEM = ("--namespace", "kube-system")
WEB = "theirs"
# What kube-proxy sets and no cleanup of its own puts back.
KUBE_PROXYS = (
    "net.ipv4.conf.all.route_localnet",
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
)
ADDON = (
    "kubeadm init phase addon kube-proxy --kubernetes-version v1.34.4 --control-plane-endpoint {endpoint} "
    "--pod-network-cidr 10.244.0.0/16,fd00:10:244::/56"
)


@pytest.fixture(scope="module")
def theirs(metal: BareMetal, cluster: Kubernetes, source: Path) -> Iterator[Kubernetes]:
    """The session's cluster as kubeadm leaves one that keeps its kube-proxy; afterwards as it was."""
    before = {name: place.output("sysctl", *KUBE_PROXYS) for name, place in cluster.nodes.items()}
    kube_proxy_comes(metal, cluster, source / "images" / "kube-proxy.tar")
    remove_socklb(cluster)
    for place in cluster.nodes.values():
        place.output("rm", "/etc/cni/net.d/10-socklb.conflist")
    their_network(cluster)
    serve = ["--image", tools_image, "--replicas=3", "--", "/agnhost", "netexec", "--http-port=8080"]
    cluster.kubectl("create", "deployment", WEB, *serve)
    cluster.kubectl("expose", "deployment", WEB, "--port=80", "--target-port=8080")
    cluster.rolled_out(f"deployment/{WEB}")
    yield cluster
    cluster.kubectl("delete", f"deployment/{WEB}", f"service/{WEB}")
    for name, place in cluster.nodes.items():
        place.output("sysctl", "--quiet", "--load=-", given=before[name])
        place.output("rm", "-f", "/run/xtables.lock")  # kube-proxy's too
        place.output("rm", "/etc/cni/net.d/10-theirs.conflist")
        place.output("sh", "-c", "ip route | awk '/^10.244.*via/ {print $1}' | xargs -n1 ip route delete")
        place.output("sh", "-c", "ip -6 route | awk '/^fd00:10:244.*via/ {print $1}' | xargs -n1 ip -6 route delete")
    metal.deploy("cluster")


def kube_proxy_comes(metal: BareMetal, cluster: Kubernetes, image: Path) -> None:
    for name in cluster.nodes:
        docker("cp", str(image), f"{name}:/var/tmp/kube-proxy.tar")
        metal.machines[name].output("ctr", "--namespace", "k8s.io", "images", "import", "/var/tmp/kube-proxy.tar")
        metal.machines[name].output("rm", "/var/tmp/kube-proxy.tar")
    endpoint = f"{cluster.addresses('cp')[0]}:6443"
    cluster.control_plane.output("sh", "-c", ADDON.format(endpoint=endpoint))
    config = cluster.get("configmap", "kube-proxy", *SYSTEM)
    text = config["data"]["config.conf"]
    # A container may not change the kernel's table of connections, which kube-proxy otherwise does at its start.
    config["data"]["config.conf"] = text.replace("maxPerCore: null", "maxPerCore: 0").replace("min: null", "min: 0")
    cluster.apply(config)
    cluster.kubectl("rollout", "restart", "daemonset/kube-proxy", *SYSTEM)
    cluster.rolled_out("daemonset/kube-proxy", *SYSTEM)


def test_in_two_steps_under_load_no_connect_fails_and_no_connection_is_broken_by_the_second(
    metal: BareMetal, theirs: Kubernetes
) -> None:
    address = theirs.get("service", WEB)["spec"]["clusterIP"]
    assert theirs.nodes["w1"].output("sh", "-c", f"{RULES} | grep -c KUBE-SERVICES") != "0"  # the control
    client = theirs.pod_on("w1")
    with hammering(client, address, 80) as load:
        with without_rules_of_others(theirs.nodes["w1"]), kept_connection(client, address) as kept:
            before = kept.ask()
            assert before
            metal.deploy("adopt", "--data", "adopt=yes")
            assert kept.ask() == before
            # No other rule of these machines translates addresses: without kube-proxy's the connection would end.
            refused = metal.run("adopt", "--data", "adopt=yes", "--data", "kube_proxy=remove")
            assert refused.returncode != 0
            assert f":{before.split()[1]} -> {address}:80" in refused.stderr
            assert kept.ask() == before
        assert theirs.kubectl("get", *SYSTEM, "daemonset/kube-proxy", "-o", "name")
        with with_a_rule_that_iptables_cannot_read(theirs.nodes["w2"]):
            left = metal.run("adopt", "--data", "adopt=yes", "--data", "kube_proxy=remove")
            assert left.returncode != 0
            assert "w2: kube-proxy --cleanup left rules of its own" in left.stderr
        metal.deploy("adopt", "--data", "adopt=yes", "--data", "kube_proxy=remove")
    assert load.failures == {}
    assert sum(load.served.values()) > 100
    assert_taken_over(theirs)
    for place in theirs.nodes.values():
        assert place.output("ls", "/etc/cni/net.d") == "10-theirs.conflist"


def test_once_taken_over_another_run_changes_nothing(metal: BareMetal, theirs: Kubernetes) -> None:
    assert changes(metal.deploy("adopt", "--data", "adopt=yes", "--data", "kube_proxy=remove")) == []
