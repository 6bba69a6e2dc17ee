"""One kind cluster for the whole session, on a docker of our own, built and removed by the deploys as a user does it.

SOCKLB_KEEP=1 keeps the cluster and the docker. One session at a time: docker and cluster have names of their own.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from inventory.connectors.kind_cluster import containers, kind_program
from inventory.group_data.kind import kind_cluster
from tests.support.cluster import ROOT, HostSettings
from tests.support.kubernetes import (
    SEALED_DOCKER,
    Kubernetes,
    deploy,
    half_made,
    remains,
    sealed,
    sealed_environment,
)

KEEP = bool(os.environ.get("SOCKLB_KEEP"))


@pytest.fixture(scope="session")
def host_before() -> HostSettings:
    """The machine's settings before this session started anything."""
    if os.geteuid() != 0:
        pytest.skip("a docker of our own needs root")
    if not KEEP:
        sealed("stop")
    return HostSettings.now()


@pytest.fixture(scope="session")
def docker(host_before: HostSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Our own docker with the node image in it; for this process and what it starts, the only one."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sealed_environment().items():
            patch.setenv(name, value)
        patch.setenv("KUBECONFIG", str(tmp_path_factory.mktemp("kubeconfig") / "config"))
        subprocess.run([ROOT / "images" / "build.sh", "node"], check=True)
        yield
        if not KEEP:
            sealed("stop")
            assert remains() == []


@pytest.fixture(scope="session")
def left_half_made(docker: None) -> str:
    """The id of what a killed kind left of the session's cluster; nothing where a cluster was kept."""
    return "" if containers(kind_cluster) else half_made(kind_cluster)


@pytest.fixture(scope="session")
def kubernetes(left_half_made: str) -> Iterator[Kubernetes]:
    deploy("cluster")
    yield Kubernetes()
    if not KEEP:
        deploy("teardown")
        left = subprocess.run(["docker", "ps", "--all", "--quiet"], capture_output=True, text=True, check=True)
        assert left.stdout == ""


@pytest.fixture(scope="session")
def agent_image(kubernetes: Kubernetes) -> None:
    """The agent's image, on every node."""
    subprocess.run([ROOT / "images" / "build.sh", "agent"], check=True)
    load = [kind_program(), "load", "image-archive", ROOT / "build" / "agent-image.tar", "--name", kind_cluster]
    subprocess.run([SEALED_DOCKER, "run", *load], check=True)


@pytest.fixture(scope="session")
def kubeconfig(kubernetes: Kubernetes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The administrator's; for programs outside of the nodes, in the network of our docker."""
    path = tmp_path_factory.mktemp("admin") / "kubeconfig"
    words = [SEALED_DOCKER, "run", kind_program(), "get", "kubeconfig", "--name", kind_cluster]
    path.write_text(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    return path
