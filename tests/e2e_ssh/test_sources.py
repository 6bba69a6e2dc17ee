"""Machines that get everything as one with internet does: the project's packages, signed, and images from a registry.

The network has none: tests/support/mirror.py answers for pkgs.k8s.io and registry.k8s.io.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e_ssh.conftest import KEEP
from tests.e2e_ssh.test_life import node_ready
from tests.e2e_ssh.test_upgrade import AFTER, BEFORE, api_version, kubelets, older_folder
from tests.support import sealed
from tests.support.bare_metal import BareMetal
from tests.support.cluster import changes
from tests.support.kubernetes import Kubernetes
from tests.support.machines import Machines
from tests.support.mirror import REVISION, Mirror, mirror
from tests.support.sealed import ROOT, output
from tests.support.snapshot import Snapshot, differences, snapshot

PLANE, WORKER = NODES = ["debian", "ubuntu"]  # Debian 13, Ubuntu 24.04
TAKES = {"source": "kubernetes", "kubernetes_version": "1.33"}


@pytest.fixture(scope="module")
def its(machines: Machines, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    with sealed.at_home():
        older = older_folder()
        output(ROOT / "setup" / "packages.sh", ROOT / "setup" / "apt-mirror.txt", timeout=300)
        output(ROOT / "images" / "tools.sh", timeout=900)
    with mirror(tmp_path_factory.mktemp("mirror"), {BEFORE[1:]: older, AFTER[1:]: source}) as its:
        yield its


@pytest.fixture(scope="module")
def metal(
    machines: Machines, its: Mirror, source: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BareMetal]:
    if PLANE not in machines:
        machines.start(**{PLANE: "13", WORKER: "24.04"})
        for name in NODES:
            its.known_to(machines[name])
    yield BareMetal(machines, tmp_path_factory.mktemp("sources"), source)
    if not KEEP:
        machines.remove(*NODES)


@pytest.fixture(scope="module")
def before(metal: BareMetal) -> Mapping[str, Snapshot]:
    return {name: snapshot(metal.machines[name]) for name in NODES}


@pytest.fixture(scope="module")
def cluster(metal: BareMetal, before: Mapping[str, Snapshot]) -> Kubernetes:
    metal.write([PLANE], [WORKER], **TAKES).deploy("cluster")
    return metal.kubernetes()


def packages(metal: BareMetal, name: str) -> dict[str, str]:
    said = metal.machines[name].output("dpkg-query", "--show", "--showformat", "${Package} ${Version}\n")
    return dict(line.split() for line in said.splitlines())


def changed(metal: BareMetal, before: Mapping[str, Snapshot]) -> list[str]:
    """Return what differs, but for the daemon that preflight's question for the clock starts: it ends itself."""
    lines = [line for name in NODES for line in differences(before[name], snapshot(metal.machines[name]))]
    return [line for line in lines if "systemd-timedated" not in line]


def test_a_version_that_is_not_there_is_said_and_nothing_is_installed(
    metal: BareMetal, before: Mapping[str, Snapshot]
) -> None:
    done = metal.write([PLANE], [WORKER], **TAKES | {"kubernetes_version": "1.35"}).run("cluster")
    assert done.returncode
    assert "it cannot get https://pkgs.k8s.io/core:/stable:/v1.35/deb/Release.key (curl: (22)" in done.stderr
    assert "change kubernetes_version or source" in done.stderr
    assert "Traceback" not in done.stderr
    assert changed(metal, before) == []


def test_no_other_patch_is_taken_for_one_that_is_not_there(metal: BareMetal, before: Mapping[str, Snapshot]) -> None:
    done = metal.write([PLANE], [WORKER], **TAKES | {"kubernetes_version": f"{BEFORE[1:]}1"}).run("cluster")
    assert done.returncode
    assert f"no kubelet {BEFORE[1:]}1 in the package sources, only: {BEFORE[1:]}-1.1" in done.stderr
    assert "kubelet" not in packages(metal, PLANE)


def test_everything_comes_from_there_and_serves(metal: BareMetal, its: Mirror, cluster: Kubernetes) -> None:
    assert [api_version(cluster), *kubelets(cluster)] == [BEFORE] * 3
    for name, place in cluster.nodes.items():
        assert packages(metal, name)["kubelet"].startswith(BEFORE[1:])
        assert place.run("test", "-e", "/usr/local/bin/kubelet").returncode
        assert node_ready(cluster, name) == "True"
        assert place.run("socklb", "check").returncode == 0
    assert {path.split("/")[2] for path in its.asked() if path.startswith("/v2/")} >= {
        "kube-apiserver",
        "etcd",
        "pause",
    }
    (web,) = {service["spec"]["ports"][0]["nodePort"] for service in [cluster.get("service", "web")]}
    for name in NODES:
        address = metal.machines[name].addresses[0]
        assert sealed.run("curl", "-fsS", "--max-time", "5", f"http://{address}:{web}/").returncode == 0


def test_a_second_run_changes_nothing(metal: BareMetal, cluster: Kubernetes) -> None:
    assert changes(metal.deploy("cluster")) == []


def test_every_node_is_as_the_roles_say(metal: BareMetal, cluster: Kubernetes) -> None:
    done = metal.project("pytest", "-q", "tests/nodes", "--inventory", str(metal.file), "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout[-5000:]
    assert "skipped" not in done.stdout


def test_it_is_upgraded_from_there(metal: BareMetal, cluster: Kubernetes) -> None:
    metal.write([PLANE], [WORKER], **TAKES | {"kubernetes_version": "1.34"})
    metal.deploy("upgrade")
    assert [api_version(cluster), *kubelets(cluster)] == [AFTER] * 3
    for name in NODES:
        assert packages(metal, name)["kubelet"].startswith(AFTER[1:])
    assert changes(metal.deploy("upgrade")) == []
    assert changes(metal.deploy("cluster")) == []


def test_the_machines_are_as_they_were_afterwards(
    metal: BareMetal, before: Mapping[str, Snapshot], cluster: Kubernetes
) -> None:
    metal.deploy("teardown")
    assert changed(metal, before) == []


def test_a_company_s_own_mirror_will_do(metal: BareMetal, its: Mirror, before: Mapping[str, Snapshot]) -> None:
    """`distribution`: whatever sources the machine has; here on one machine alone."""
    key = "/etc/apt/trusted.gpg.d/company.asc"
    machine = metal.machines[PLANE]
    machine.output("curl", "-fsS", "--output", key, "https://pkgs.k8s.io/core:/stable:/v1.34/deb/Release.key")
    its.source(machine, "deb https://pkgs.k8s.io/core:/stable:/v1.34/deb/ /")
    machine.output("sh", "-c", "apt-get -q update && apt-get -qy install kubectl", timeout=120)
    assert packages(metal, PLANE)["kubectl"] == f"{AFTER[1:]}0-{REVISION}"  # the latest patch, until a role was here
    metal.write([PLANE], source="distribution", kubernetes_version=AFTER[1:]).deploy("cluster")
    cluster = metal.kubernetes()
    assert [api_version(cluster), *kubelets(cluster)] == [AFTER] * 2
    assert packages(metal, PLANE)["kubectl"] == f"{AFTER[1:]}-{REVISION}"
    assert changes(metal.deploy("cluster")) == []
    done = metal.write([PLANE]).run("cluster")
    assert done.returncode
    assert "its kubelet is of a package, and source is a folder" in done.stderr
