"""The programs of a control plane, and one that runs for the whole session; a test that ends programs has its own."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rig.control_plane import ControlPlane, agent_token
from socklb.api.cluster import KubernetesApi
from socklb.api.connection import Connection

ROOT = Path(__file__).parents[2]
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "etcd", "kubectl")


@pytest.fixture(scope="session")
def programs() -> Path:
    return control_plane_programs()


def control_plane_programs() -> Path:
    """KUBEBUILDER_ASSETS if it is set; else they are built from their Go modules, once: some 5 minutes."""
    if given := os.environ.get("KUBEBUILDER_ASSETS"):
        return Path(given)
    done = subprocess.run([ROOT / "images" / "programs.sh", *PROGRAMS], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="session")
def plane(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(programs, tmp_path_factory.mktemp("plane")) as plane:
        plane.apply(ROOT / "deploys" / "kubernetes" / "rbac.yaml")
        yield plane


@pytest.fixture
def own_plane(programs: Path, tmp_path: Path) -> Iterator[ControlPlane]:
    with ControlPlane(programs, tmp_path) as plane:
        plane.apply(ROOT / "deploys" / "kubernetes" / "rbac.yaml")
        yield plane


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"s-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def source_of() -> Callable[..., KubernetesApi]:
    """Make a source that asks with the agent's rights, perhaps by other servers than the plane's own address."""

    def make(plane: ControlPlane, *servers: str, node: str = "") -> KubernetesApi:
        kubeconfig = plane.kubeconfig(f"agent-{uuid.uuid4().hex[:8]}", agent_token(plane))
        return KubernetesApi(Connection(str(kubeconfig), servers), node)

    return make
