"""deploys/ on inventory/kind.py, as a user types them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inventory.connectors import kind_cluster, this_machine
from inventory.connectors.kind_cluster import LABEL
from inventory.group_data.kind import kind_cluster as cluster
from inventory.group_data.kind import kind_image, kind_workers, pod_cidrs, service_cidrs
from roles.pods.operations import CONFLIST
from tests.support.cluster import ROOT, HostSettings, changes, pyinfra
from tests.support.kubernetes import Kubernetes, deploy, half_made, kind_deploy

pytestmark = pytest.mark.usefixtures("kubernetes")


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout.strip()


def nodes_of(cluster: str) -> list[str]:
    return docker("ps", "--all", "--filter", f"label={LABEL}={cluster}", "--format", "{{.Names}}").split()


def test_a_second_run_changes_nothing() -> None:
    results = deploy("cluster")
    assert changes(results) == []
    assert results["totals"]["no_change"] == results["totals"]["hosts"] > 40


def test_every_node_is_as_the_roles_say() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "tests/nodes", "--inventory", "kind", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "skipped" not in done.stdout


def test_the_machine_itself_is_as_it_was(host_before: HostSettings) -> None:
    """The control is that the settings can be read at all: the cluster's own are in its nodes."""
    now = HostSettings.now()
    assert now.sysctls
    assert now == host_before


def test_the_curl_of_the_readme_is_answered_by_a_pod(kubernetes: Kubernetes) -> None:
    answer = docker("exec", "socklb-worker", "curl", "-s", "http://socklb-worker2:32000/")
    assert answer in {pod["metadata"]["name"] for pod in kubernetes.pods("app=web")}


def test_the_clusters_dns_answers(kubernetes: Kubernetes) -> None:
    pod = kubernetes.pod_on(kubernetes.workers[0])
    assert pod.output("dig", "+short", "web.default.svc.cluster.local") == "10.96.0.80"
    assert pod.output("dig", "+short", "aaaa", "web.default.svc.cluster.local") == "fd00:10:96::80"
    assert kubernetes.pods("k8s-app=kube-dns", "--namespace=kube-system")


def test_a_deleted_object_and_a_changed_file_are_mended(kubernetes: Kubernetes) -> None:
    kubernetes.kubectl("delete", "service", "empty")
    kubernetes.nodes[kubernetes.workers[0]].output("sh", "-c", "echo '# mine' >>/etc/socklb/socklb.toml")
    assert changes(deploy("cluster")) == [
        "workload | Objects of services.yaml",
        "agent | Configuration",
        "agent | Service",
    ]


@pytest.fixture
def foreign() -> Iterator[str]:
    """The container of a cluster that somebody else made."""
    name = "somebodys-control-plane"
    docker("create", "--name", name, "--label", f"{LABEL}=somebodys", "--entrypoint", "sleep", kind_image, "infinity")
    yield name
    docker("rm", "--force", "--volumes", name)


@pytest.mark.parametrize(
    ("name", "next_step"),
    [("cluster", "--data adopt=yes"), ("teardown", "kind delete cluster --name somebodys")],
)
def test_a_cluster_of_somebody_else_is_not_touched(foreign: str, name: str, next_step: str) -> None:
    done = kind_deploy(name, "kind_cluster=somebodys")
    assert done.returncode != 0
    assert "the kind cluster somebodys was made by somebody else (somebodys-control-plane)" in done.stderr
    assert next_step in done.stderr
    assert "Traceback" not in done.stderr
    assert docker("inspect", "--format", "{{.State.Status}}", foreign) == "created"


def test_an_image_that_is_not_there_is_not_pulled() -> None:
    done = kind_deploy("cluster", "kind_cluster=other", "kind_image=socklb/node:v0.0.0")
    assert done.returncode != 0
    assert "docker has no image socklb/node:v0.0.0. Next: make kind-image" in done.stderr
    assert nodes_of("other") == []


def test_a_port_in_use_is_told_and_nothing_is_left_half_made(kubernetes: Kubernetes) -> None:
    (port,) = {line.rpartition(":")[2] for line in docker("port", "socklb-control-plane", "6443/tcp").splitlines()}
    done = kind_deploy("cluster", "kind_cluster=other", "kind_workers=0", f"kind_api_port={port}")
    assert done.returncode != 0
    assert "another program has that port; choose another one: --data kind_api_port" in done.stderr
    assert nodes_of("other") == []


def test_another_number_of_nodes_than_kind_made_is_told() -> None:
    done = kind_deploy("cluster", "kind_workers=3")
    assert done.returncode != 0
    assert "the cluster socklb has 3 nodes, and 4 are wanted; kind cannot add or remove any" in done.stderr


def test_what_a_killed_run_left_half_made_can_be_removed() -> None:
    half_made("half")
    assert nodes_of("half") != []
    done = kind_deploy("teardown", "kind_cluster=half")
    assert done.returncode == 0, done.stderr
    assert nodes_of("half") == []


def test_what_a_killed_run_left_half_made_is_made_anew_by_the_next(left_half_made: str) -> None:
    """The session's cluster began so (conftest.py): one more would take a minute."""
    if not left_half_made:
        pytest.skip("the cluster was kept, and not made by this session")
    assert left_half_made not in docker("ps", "--all", "--quiet", "--no-trunc").split()
    wanted = kind_cluster.Wanted(cluster, kind_image, kind_workers, pod_cidrs, service_cidrs)
    container = docker("inspect", "--format", "{{.Id}}", wanted.control_plane)
    assert docker("exec", wanted.control_plane, "cat", "/proc/1/comm") == "systemd"
    assert f"kind-{cluster}" in Path(os.environ["KUBECONFIG"]).read_text()
    with this_machine.lock():
        kind_cluster.ensure(wanted, adopt=False)
    assert docker("inspect", "--format", "{{.Id}}", wanted.control_plane) == container


@pytest.fixture
def not_ready(kubernetes: Kubernetes) -> Iterator[str]:
    """A node whose pods can have no network."""
    name = kubernetes.workers[-1]
    kubernetes.nodes[name].output("mv", CONFLIST, "/root/")
    kubernetes.kubectl("wait", "--for=condition=Ready=false", f"node/{name}", "--timeout=120s")
    yield name
    kubernetes.nodes[name].output("cp", f"/root/{Path(CONFLIST).name}", CONFLIST)  # containerd overlooks a mv to there
    kubernetes.kubectl("wait", "--for=condition=Ready", f"node/{name}", "--timeout=120s")


def test_a_node_that_does_not_become_ready_shows_what_kubelet_and_containerd_said(
    kubernetes: Kubernetes, not_ready: str, tmp_path: Path
) -> None:
    waiting = tmp_path / "waiting.py"
    waiting.write_text("from roles.kubernetes.operations import node_is_ready; node_is_ready(patience='2s')")
    done = pyinfra("inventory/kind.py", str(waiting), "-y")
    assert done.returncode != 0
    for unit in ("kubelet", "containerd"):
        assert f"The last lines of {unit}:" in done.stderr
    assert "cni plugin not initialized" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_node_that_was_stopped_is_started_again(kubernetes: Kubernetes) -> None:
    node = kubernetes.workers[-1]
    docker("stop", node)
    deploy("cluster")
    assert docker("inspect", "--format", "{{.State.Running}}", node) == "true"
    assert changes(deploy("cluster")) == []
