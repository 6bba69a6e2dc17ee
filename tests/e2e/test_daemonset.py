"""The agent as a DaemonSet: it takes over from the units, serves with the capabilities that it names, and rolls."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inventory.group_data.kind import pod_cidrs, services
from tests.support.cluster import ROOT
from tests.support.daemonset import (
    BITS,
    SYSTEM,
    agents,
    capabilities,
    cgroup_of,
    instead_of_units,
    left_on,
    needed_there,
    rolled_out,
    status,
    stop_units,
)
from tests.support.hammer import hammering
from tests.support.kubernetes import Kubernetes

ADDRESS, PORT = services["web"]["addresses"][0], 80
MANY = 100  # answers that the least of loads has given


@pytest.fixture(scope="module")
def manifests(kubernetes: Kubernetes, agent_image: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """deploys/kubernetes as a user lays it over: this cluster's addresses, and where its nodes have cgroup v2."""
    folder = tmp_path_factory.mktemp("overlay")
    server = kubernetes.addresses("socklb-control-plane")[0]
    networks = json.dumps(pod_cidrs)
    (folder / "socklb.toml").write_text(
        f'api_servers = ["https://{server}:6443"]\npod_cidrs = {networks}\nnode_routes = true\n'
        'bpffs = "/host/bpf"\ncgroup = "/host/cgroup"\n'
    )
    replaced = {"configMapGenerator": [{"name": "socklb", "behavior": "replace", "files": ["socklb.toml"]}]}
    return laid_over(kubernetes, folder, "deploys/kubernetes", "containers", replaced)


@pytest.fixture(scope="module")
def cleanup(kubernetes: Kubernetes, manifests: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """deploys/kubernetes/cleanup, laid over in the same way."""
    folder = tmp_path_factory.mktemp("cleanup")
    return laid_over(kubernetes, folder, "deploys/kubernetes/cleanup", "initContainers", {})


def laid_over(kubernetes: Kubernetes, folder: Path, base: str, kind: str, more: dict[str, Any]) -> str:
    """An overlay for these nodes: where they have cgroup v2, and what an old container runtime knows."""
    node = kubernetes.nodes["socklb-worker"]
    pod = "/spec/template/spec"
    patch: list[Any] = [{"op": "replace", "path": f"{pod}/volumes/2/hostPath/path", "value": cgroup_of(node)}]
    if needed := needed_there(node):
        path = f"{pod}/{kind}/0/securityContext/capabilities/add"
        patch.append({"op": "replace", "path": path, "value": needed})
    overlay = {
        "namespace": "kube-system",
        "resources": [os.path.relpath(ROOT / base, folder)],
        "patches": [{"target": {"kind": "DaemonSet"}, "patch": json.dumps(patch)}],
        **more,
    }
    (folder / "kustomization.yaml").write_text(json.dumps(overlay))
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def daemonset(kubernetes: Kubernetes, manifests: str) -> Iterator[None]:
    """In the place of the units, which are back afterwards; a load runs all the way there."""
    with instead_of_units(kubernetes):
        try:
            with hammering(kubernetes.pod_on(kubernetes.workers[0]), ADDRESS, PORT) as load:
                stop_units(kubernetes)
                kubernetes.kubectl("apply", "--filename", "-", given=manifests)
                rolled_out(kubernetes)
            assert load.failures == {}
            yield
        finally:
            kubernetes.kubectl("delete", "daemonset/socklb", *SYSTEM, "--wait=true", "--ignore-not-found")


@pytest.mark.usefixtures("daemonset")
def test_every_node_is_served_by_it(kubernetes: Kubernetes) -> None:
    found = agents(kubernetes)
    assert {pod["spec"]["nodeName"] for pod in found} == set(kubernetes.nodes)
    for pod in found:
        told = status(kubernetes, pod)
        assert told["node"] == pod["spec"]["nodeName"]
        assert told["synced"]
        assert told["problems"] == []
        assert all(hook["effective"] for hook in told["hooks"])
        assert told["source"]["lost_since"] is None


@pytest.mark.usefixtures("daemonset")
def test_it_has_the_capabilities_that_it_names_and_no_others(kubernetes: Kubernetes) -> None:
    pod = agents(kubernetes)[0]
    named = pod["spec"]["containers"][0]["securityContext"]["capabilities"]
    assert named["drop"] == ["ALL"]
    place = kubernetes.pod(pod["metadata"]["name"], "kube-system")
    agent = json.loads(place.output("socklb", "status", "--json"))["agent"]  # the pid namespace is the node's
    found = capabilities(place, process=agent["pid"])
    assert found == {BITS[name] for name in named["add"]}


@pytest.mark.usefixtures("daemonset")
def test_every_node_is_checked_by_one_command(kubernetes: Kubernetes) -> None:
    command = ["env", "KUBECONFIG=/etc/kubernetes/admin.conf", "socklb", "check", "--all-nodes", "--json"]
    done = kubernetes.control_plane.run(*command)
    found = json.loads(done.stdout)
    assert [row for row in found if row["verdict"] == "failed"] == []
    assert done.returncode == 0
    for node in kubernetes.nodes:
        passed = {row["check"] for row in found if row["node"] == node and row["verdict"] == "passed"}
        assert passed >= {"hooks", "agent", "from a pod", "refusal", "from the node", "DNS", "packet path"}


@pytest.mark.usefixtures("daemonset")
def test_it_rolls_under_load(kubernetes: Kubernetes) -> None:
    before = {pod["metadata"]["name"] for pod in agents(kubernetes)}
    with hammering(kubernetes.pod_on(kubernetes.workers[0]), ADDRESS, PORT) as load:
        kubernetes.kubectl("rollout", "restart", "daemonset/socklb", *SYSTEM)
        rolled_out(kubernetes)
    assert not before & {pod["metadata"]["name"] for pod in agents(kubernetes)}
    assert load.failures == {}
    assert sum(load.served.values()) > MANY


@pytest.mark.usefixtures("daemonset")
def test_a_change_arrives(kubernetes: Kubernetes) -> None:
    name = "of-the-daemonset"
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    document = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
    client = kubernetes.pod_on(kubernetes.workers[1])
    with kubernetes.objects(document):
        address = kubernetes.get("service", name)["spec"]["clusterIP"]
        client.output("curl", "-s", "--retry", "20", "--retry-all-errors", "--retry-delay", "1", f"http://{address}/")
    assert client.run("curl", "-s", "--max-time", "3", f"http://{address}/").returncode != 0


@pytest.mark.usefixtures("daemonset")
def test_cleanup_leaves_nothing_of_it_on_any_node(kubernetes: Kubernetes, cleanup: str) -> None:
    """Last: from here on no node is served until the units are started again."""
    kubernetes.kubectl("delete", "daemonset/socklb", *SYSTEM, "--wait=true", "--cascade=foreground")
    assert {name: left_on(place) for name, place in kubernetes.nodes.items()} == dict.fromkeys(kubernetes.nodes, 3)
    kubernetes.kubectl("apply", "--filename", "-", given=cleanup)
    try:
        kubernetes.rolled_out("daemonset/socklb-cleanup", *SYSTEM)
        assert {name: left_on(place) for name, place in kubernetes.nodes.items()} == dict.fromkeys(kubernetes.nodes, 0)
    finally:
        kubernetes.kubectl("delete", "--filename", "-", "--wait=true", given=cleanup)
