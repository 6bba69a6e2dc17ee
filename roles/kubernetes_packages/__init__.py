"""kubelet, kubeadm, kubectl: from the Kubernetes project's packages, the machine's own sources, or a folder."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from pyinfra.api.deploy import deploy
from pyinfra.context import host
from pyinfra.facts.deb import DebPackages
from pyinfra.operations import apt, files, systemd

from roles.container_runtime.offline import offline, verified

HERE = Path(__file__).parent
LATER: Any = None  # kubeadm starts it
PROGRAMS = ["kubelet", "kubeadm", "kubectl"]
REPOSITORY = "https://pkgs.k8s.io/core:/stable:/v{minor}/deb/"
KEY = "/etc/apt/keyrings/kubernetes.asc"
LIST = "/etc/apt/sources.list.d/kubernetes.list"
PIN = "Package: kubelet kubeadm kubectl\nPin: version {version}*\nPin-Priority: 1001\n"


@deploy("kubernetes packages")
def kubernetes_packages(programs: Sequence[str] = PROGRAMS, latest: bool = False) -> None:
    """Install these programs; a newer version than the machine has comes from packages only with `latest`."""
    if folder := offline():
        _programs(folder, programs)
        return
    if host.data.source == "kubernetes":
        _repository()
    pin = io.StringIO(PIN.format(version=host.data.kubernetes_version))
    files.put(name="The version that is wanted", src=pin, dest="/etc/apt/preferences.d/kubernetes")
    apt.packages(name=", ".join(programs), packages=[*programs], no_recommends=True, latest=latest, update=latest)
    systemd.service(name="kubelet at every start", service="kubelet", enabled=True, running=LATER)


def _programs(folder: Path, programs: Sequence[str]) -> None:
    verified(folder, "programs")
    for program in cast("list[str]", host.loop(programs)):
        source = str(folder / "programs" / program)
        files.put(name=program, src=source, dest=f"/usr/local/bin/{program}", mode="755")
    unit = files.put(
        name="kubelet's unit",
        src=str(HERE / "files" / "kubelet.service"),
        dest="/etc/systemd/system/kubelet.service",
    )
    systemd.daemon_reload(name="systemd knows it", _if=unit.did_change)
    systemd.service(name="kubelet at every start", service="kubelet", enabled=True, running=LATER)


def _repository() -> None:
    address = REPOSITORY.format(minor=".".join(str(host.data.kubernetes_version).split(".")[:2]))
    files.directory(name="Keys of sources", path="/etc/apt/keyrings")
    files.download(name="The Kubernetes project's key", src=f"{address}Release.key", dest=KEY)
    source = files.put(name="Its packages", src=io.StringIO(f"deb [signed-by={KEY}] {address} /\n"), dest=LIST)
    apt.update(name="What packages there are", _if=lambda: source.did_change() or _packages_are_missing())


def _packages_are_missing() -> bool:
    return not {*PROGRAMS} <= {*host.get_fact(DebPackages)}
