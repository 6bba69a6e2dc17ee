"""deploys/adopt.py: a cluster of somebody else, with a kube-proxy and a network of its own, is taken over under load.

It bears the name of the session's cluster and takes its place: this file runs before the others, which build it anew.
Both modes of kube-proxy have the same cluster: between them it goes back to its kube-proxy, as docs/operations.md says.
"""

import json
import subprocess
from collections.abc import Iterator

import pytest
import yaml

from inventory.connectors import kind_cluster
from inventory.connectors.kind_cluster import Wanted
from inventory.group_data.kind import kind_cluster as name
from inventory.group_data.kind import kind_image, kind_workers, pod_cidrs, service_cidrs, tools_image
from roles.kubernetes.facts import KUBE_PROXY_BACKUP
from tests.support.cluster import changes
from tests.support.hammer import hammering
from tests.support.kubernetes import SEALED_DOCKER, Kubernetes, deploy, kind_deploy
from tests.support.takeover import (
    RULES,
    assert_taken_over,
    kept_connection,
    remove_socklb,
    their_network,
    without_rules_of_others,
)

SYSTEM = ("--namespace", "kube-system")


def kind_create(mode: str) -> None:
    """As somebody would: without our mark."""
    wanted = Wanted(name, kind_image, kind_workers, pod_cidrs, service_cidrs, kube_proxy_mode=mode)
    config = yaml.safe_load(kind_cluster.config(wanted))
    for node in config["nodes"]:
        del node["extraMounts"]
    command = [kind_cluster.kind_program(), "create", "cluster", "--image", kind_image, "--config", "-"]
    subprocess.run(command, input=yaml.safe_dump(config), text=True, check=True)


@pytest.fixture(scope="module")
def cluster(docker: None) -> Iterator[Kubernetes]:
    """With a kube-proxy in the mode iptables."""
    kind_cluster.remove(name)
    kind_create("iptables")
    kubernetes = Kubernetes()
    their_network(kubernetes)
    serve = ["--image", tools_image, "--replicas=3", "--", "/agnhost", "netexec", "--http-port=8080"]
    kubernetes.kubectl("create", "deployment", "web", *serve)
    kubernetes.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080", "--type=NodePort")
    there = json.dumps({"spec": {"nodeName": kubernetes.workers[0]}})
    kubernetes.kubectl("run", "client", f"--image={tools_image}", f"--overrides={there}", "--", "sleep", "infinity")
    kubernetes.rolled_out("deployment/web")
    kubernetes.kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=120s")
    yield kubernetes
    subprocess.run([kind_cluster.kind_program(), "delete", "cluster", "--name", name], check=True)


@pytest.fixture(scope="module", params=["iptables", "nftables"])
def theirs(request: pytest.FixtureRequest, cluster: Kubernetes) -> Kubernetes:
    if request.param == "nftables":
        goes_back(cluster, request.param)
    return cluster


def goes_back(kubernetes: Kubernetes, mode: str) -> None:
    """To kube-proxy, in another mode than before, from an agent that serves all."""
    config = kubernetes.get("configmap", "kube-proxy", *SYSTEM)
    config["data"]["config.conf"] = config["data"]["config.conf"].replace("mode: iptables", f"mode: {mode}")
    kubernetes.apply(config)
    kubernetes.kubectl("create", "--filename", KUBE_PROXY_BACKUP)
    kubernetes.rolled_out("daemonset/kube-proxy", *SYSTEM)
    remove_socklb(kubernetes)


def test_in_two_steps_under_load_no_connect_fails_and_no_connection_breaks(theirs: Kubernetes) -> None:
    service = theirs.get("service", "web")["spec"]
    address, node_port = service["clusterIP"], service["ports"][0]["nodePort"]
    node = theirs.nodes[theirs.workers[0]]
    assert node.output("sh", "-c", f"{RULES} | grep -Ec 'KUBE-SERVICES|kube-proxy'") != "0"  # the control
    client = theirs.pod("client")
    with kept_connection(client, address) as kept, hammering(client, address, 80) as load:
        before = kept.ask()
        deploy("adopt", "adopt=yes")
        assert kept.ask() == before
        alone = kind_deploy("adopt", "adopt=yes", "kube_proxy=remove", limit="workers")
        assert alone.returncode != 0
        assert f"{name}-control-plane failed, see above, or is not in this run: kube-proxy stays" in alone.stderr
        with without_rules_of_others(node):
            refused = kind_deploy("adopt", "adopt=yes", "kube_proxy=remove")
        assert refused.returncode != 0
        assert "connections would end with kube-proxy's rules" in refused.stdout + refused.stderr
        assert f":{before.split()[1]} -> {address}:80" in refused.stdout + refused.stderr
        assert kept.ask() == before
        assert theirs.kubectl("get", *SYSTEM, "daemonset/kube-proxy", "-o", "name")
        deploy("adopt", "adopt=yes", "kube_proxy=remove")
        assert kept.ask() == before
    assert load.failures == {}
    assert sum(load.served.values()) > 100
    assert_taken_over(theirs)
    outside = f"http://{theirs.addresses(theirs.workers[1])[0]}:{node_port}/hostname"
    asked = [SEALED_DOCKER, "run", "curl", "-sS", "--max-time", "5", outside]
    answer = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert answer in {pod["metadata"]["name"] for pod in theirs.pods("app=web")}


def test_what_is_theirs_is_left_alone(theirs: Kubernetes) -> None:
    for place in theirs.nodes.values():
        assert place.output("ls", "/etc/cni/net.d") == "10-theirs.conflist"
        assert not place.output("ip", "route", "show", "proto", "83")
    assert "taints" in theirs.get("node", f"{name}-control-plane")["spec"]


def test_once_taken_over_another_run_changes_nothing(theirs: Kubernetes) -> None:
    assert changes(deploy("adopt", "adopt=yes", "kube_proxy=remove")) == []
    assert changes(deploy("adopt", "adopt=yes")) == []
