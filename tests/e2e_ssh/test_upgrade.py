"""deploys/upgrade.py: a cluster of Kubernetes 1.33 becomes one of 1.34, interrupted twice, and no connect fails."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inventory.place import Entry, Place
from tests.e2e_ssh.conftest import KEEP
from tests.e2e_ssh.test_life import node_ready
from tests.support import sealed
from tests.support.bare_metal import BareMetal
from tests.support.cluster import changes
from tests.support.hammer import hammering
from tests.support.kubernetes import KUBECTL, Kubernetes
from tests.support.machines import Machines
from tests.support.sealed import ROOT, output
from tests.support.waiting import until

BEFORE, AFTER = "v1.33.5", "v1.34.4"
PLANE, WORKER = NODES = ["plane", "worker"]
WEB = "10.96.0.80"


def older_folder() -> Path:
    """A folder of the minor version before. Its programs are built once, in some 15 minutes."""
    return Path(output("env", f"SOCKLB_KUBERNETES={BEFORE}", ROOT / "images" / "offline.sh", timeout=3600))


@pytest.fixture(scope="module")
def older() -> Path:
    with sealed.at_home():
        return older_folder()


@pytest.fixture(scope="module")
def metal(machines: Machines, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareMetal]:
    if PLANE not in machines:
        machines.start(plane="12", worker="12")
    yield BareMetal(machines, tmp_path_factory.mktemp("upgrade"), source)
    if not KEEP:
        machines.remove(*NODES)


@pytest.fixture(scope="module")
def cluster(metal: BareMetal, older: Path) -> Kubernetes:
    """A cluster of the version before, whose Service may not be without a pod."""
    metal.write([PLANE], [WORKER], source=str(older), kubernetes_version="1.33").deploy("cluster")
    cluster = metal.kubernetes()
    cluster.kubectl("create", "poddisruptionbudget", "web", "--selector=app=web", "--min-available=1")
    return cluster


def kubelets(cluster: Kubernetes) -> list[str]:
    return [node["status"]["nodeInfo"]["kubeletVersion"] for node in cluster.get("nodes")["items"]]


def api_version(cluster: Kubernetes) -> str:
    return str(json.loads(cluster.kubectl("get", "--raw", "/version"))["gitVersion"])


def cordoned(cluster: Kubernetes, node: str) -> bool:
    """Whether it is; not known while the API is away."""
    return "unschedulable" in cluster.control_plane.run(*KUBECTL, "get", "node", node, "--output", "yaml").stdout


def in_pod(cluster: Kubernetes, node: str) -> Place:
    """The network, files and cgroup of a client's pod, entered without the API, which is away for moments."""
    (pod,) = cluster.pods("app=client", f"--field-selector=spec.nodeName={node}")
    container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    task = f"ctr --namespace k8s.io task list | awk '$1 == \"{container}\" {{ print $2 }}'"
    pid = cluster.nodes[node].output("sh", "-c", task)
    cgroup = f"$(findmnt -n -o TARGET -t cgroup2 | head -n 1)$(sed -n s/^0:://p /proc/{pid}/cgroup)"
    join = f'echo 0 >{cgroup}/cgroup.procs && exec nsenter --target {pid} --net --mount -- "$@"'
    return Place(f"a pod on {node}", Entry(cluster.nodes[node].entry.host, ("sh", "-c", join, "sh")))


def interrupted(metal: BareMetal, there: Callable[[], bool]) -> None:
    """Kill an upgrade as soon as it has come there."""
    with metal.start("upgrade") as process:
        until(lambda: process.poll() is not None or there(), 900, pause=0.5)
        assert process.poll() is None, process.stderr and process.stderr.read()[-4000:]
        os.killpg(process.pid, signal.SIGKILL)


def test_cluster_py_does_not_bring_another_version(metal: BareMetal, cluster: Kubernetes) -> None:
    assert [api_version(cluster), *kubelets(cluster)] == [BEFORE] * 3
    metal.write([PLANE], [WORKER])
    done = metal.run("cluster")
    assert done.returncode
    assert f"its kubelet is {BEFORE}, and the inventory says {AFTER}" in done.stderr
    assert "deploys/upgrade.py" in done.stderr
    assert cluster.nodes[WORKER].output("kubelet", "--version") == f"Kubernetes {BEFORE}"


def test_it_is_refused_before_anything_is_changed(metal: BareMetal, cluster: Kubernetes) -> None:
    metal.write([PLANE], [WORKER])
    cluster.kubectl("cordon", WORKER)
    done = metal.run("upgrade")
    cluster.kubectl("uncordon", WORKER)
    assert done.returncode
    assert f"nothing was changed: {WORKER} is cordoned" in done.stderr
    assert "Traceback" not in done.stderr
    done = metal.write([PLANE], [WORKER], kubernetes_version="1.35").run("upgrade")
    assert done.returncode
    assert f'has {AFTER}, and kubernetes_version is "1.35"' in done.stderr
    assert cluster.control_plane.output("kubeadm", "version", "--output=short") == BEFORE
    assert cluster.control_plane.run("ls", "/var/lib/socklb/etcd").returncode


def test_machines_are_upgraded_under_load_also_by_runs_that_are_killed(metal: BareMetal, cluster: Kubernetes) -> None:
    metal.write([PLANE], [WORKER])
    plane = cluster.control_plane
    with hammering(in_pod(cluster, WORKER), WEB, 80) as of_pod, hammering(plane, WEB, 80) as of_node:
        manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml"
        interrupted(metal, lambda: plane.run("grep", f"apiserver:{AFTER}", manifest).returncode == 0)
        interrupted(metal, lambda: cordoned(cluster, WORKER))
        metal.deploy("upgrade")
    assert of_pod.failures == of_node.failures == {}
    assert min(sum(load.served.values()) for load in (of_pod, of_node)) > 1000


def test_the_cluster_is_of_the_new_version_and_as_it_was_otherwise(metal: BareMetal, cluster: Kubernetes) -> None:
    assert [api_version(cluster), *kubelets(cluster)] == [AFTER] * 3
    config = cluster.get("configmap", "kubeadm-config", "--namespace=kube-system")["data"]["ClusterConfiguration"]
    assert f"kubernetesVersion: {AFTER}\n" in config
    images = cluster.kubectl("get", "pods", "-A", "--output=jsonpath={.items[*].spec.containers[*].image}").split()
    assert {image for image in images if "registry.k8s.io" in image} == {
        *(f"registry.k8s.io/kube-{name}:{AFTER}" for name in ("apiserver", "controller-manager", "scheduler")),
        "registry.k8s.io/etcd:3.6.5-0",
        "registry.k8s.io/coredns/coredns:v1.12.1",
    }
    assert not cluster.get("daemonsets", "--namespace=kube-system")["items"]  # no kube-proxy
    for node in cluster.get("nodes")["items"]:
        assert "socklb.io/upgrading" not in node["metadata"]["annotations"]
        assert "unschedulable" not in node["spec"]
    for name, place in cluster.nodes.items():
        assert node_ready(cluster, name) == "True"
        assert place.run("socklb", "check").returncode == 0
        assert place.output("kubectl", "version", "--client").splitlines()[0] == f"Client Version: {AFTER}"
    assert cluster.control_plane.output("sh", "-c", "ls /var/lib/socklb/etcd/*.db")


def test_another_run_changes_nothing_and_neither_does_cluster_py(metal: BareMetal, cluster: Kubernetes) -> None:
    assert changes(metal.deploy("upgrade")) == []
    assert changes(metal.deploy("cluster")) == []


def test_there_is_no_way_back(metal: BareMetal, cluster: Kubernetes, older: Path) -> None:
    done = metal.write([PLANE], [WORKER], source=str(older), kubernetes_version="1.33").run("upgrade")
    assert done.returncode
    assert f"the API server is {AFTER}, and the inventory says {BEFORE}, which is older" in done.stderr
    assert kubelets(cluster) == [AFTER] * 2
