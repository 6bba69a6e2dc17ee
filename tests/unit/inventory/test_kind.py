"""inventory/connectors/kind*.py: what can be said without a docker. With one: tests/e2e."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from inventory.connectors import kind_cluster
from inventory.connectors.kind_cluster import ClusterError, Container, Wanted
from tests.support.cluster import pyinfra

WANTED = Wanted(
    name="socklb",
    image="socklb/node:v1.34.4",
    workers=2,
    pod_cidrs=["10.244.0.0/16", "fd00:10:244::/56"],
    service_cidrs=["10.96.0.0/16", "fd00:10:96::/112"],
)


def test_kind_makes_a_dual_stack_cluster_without_a_network_and_without_kube_proxy() -> None:
    config = yaml.safe_load(kind_cluster.config(WANTED))
    assert config["networking"] == {
        "ipFamily": "dual",
        "disableDefaultCNI": True,
        "kubeProxyMode": "none",
        "apiServerPort": 0,
        "podSubnet": "10.244.0.0/16,fd00:10:244::/56",
        "serviceSubnet": "10.96.0.0/16,fd00:10:96::/112",
    }
    assert [node["role"] for node in config["nodes"]] == ["control-plane", "worker", "worker"]


@pytest.mark.parametrize("workers", [0, 1, 5])
def test_the_number_of_workers_is_free_and_every_node_carries_our_mark(workers: int) -> None:
    nodes = yaml.safe_load(kind_cluster.config(replace(WANTED, workers=workers)))["nodes"]
    assert len(nodes) == 1 + workers
    assert {mount["containerPath"] for node in nodes for mount in node["extraMounts"]} == {kind_cluster.MARK}


def test_a_cluster_of_somebody_else_is_named_and_not_touched() -> None:
    present = [Container("socklb-control-plane", True, ours=True), Container("socklb-worker", True, ours=False)]
    with pytest.raises(ClusterError, match=r"made by somebody else \(socklb-worker\)\. Next: .* --data adopt=yes"):
        kind_cluster.refuse_foreign("socklb", present)
    kind_cluster.refuse_foreign("socklb", present[:1])


def test_no_docker_is_one_message_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match=r"no docker on PATH\. Next: install docker"):
        kind_cluster.docker("version")


def test_no_kind_is_one_message_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(kind_cluster, "CACHE", tmp_path)
    with pytest.raises(ClusterError, match=r"no program kind, .* Next: images/programs.sh kind"):
        kind_cluster.kind_program()


def test_a_docker_that_does_not_answer_is_told_once_and_not_for_every_node(tmp_path: Path) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2; exit 1\n")
    (tmp_path / "docker").chmod(0o755)
    done = pyinfra("inventory/kind.py", "deploys/cluster.py", "-y", PATH=f"{tmp_path}:/usr/bin:/bin")
    assert done.returncode != 0
    assert done.stderr.count("Cannot connect to the Docker daemon. Next: start docker, or set DOCKER_HOST") == 1
    assert done.stderr.count("as above") == 3
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("write /x: no space left on device", "make room where docker keeps its data"),
        ("Bind for 127.0.0.1:6443 failed: port is already allocated", "choose another one: --data kind_api_port"),
        ("listen tcp4 127.0.0.1:6443: bind: address already in use", "choose another one: --data kind_api_port"),
        ("permission denied while trying to connect to the Docker daemon socket", "as a user who may use docker"),
    ],
)
def test_what_docker_says_leads_to_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, remedy: str
) -> None:
    (tmp_path / "docker").write_text(f"#!/bin/sh\necho '{said}' >&2; exit 1\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ClusterError) as caught:
        kind_cluster.docker("version")
    assert said in str(caught.value)
    assert remedy in str(caught.value)
