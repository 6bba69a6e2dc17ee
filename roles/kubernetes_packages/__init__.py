"""kubelet, kubeadm, kubectl: from the Kubernetes project's packages, the machine's own sources, or a folder."""

import io
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from pyinfra.api.deploy import deploy
from pyinfra.context import host
from pyinfra.facts.deb import DebPackages
from pyinfra.operations import apt, files, server, systemd

from roles.container_runtime.offline import offline, verified
from roles.kubernetes_packages.facts import Unreachable

HERE = Path(__file__).parent
LATER: Any = None  # kubeadm starts it
PROGRAMS = ["kubelet", "kubeadm", "kubectl"]
REPOSITORY = "https://pkgs.k8s.io/core:/stable:/v{minor}/deb/"
KEY = "/etc/apt/keyrings/kubernetes.asc"
LIST = "/etc/apt/sources.list.d/kubernetes.list"
# No 1.34.10 where 1.34.1 is wanted. apt_preferences(5): a regular expression stands between slashes.
PIN = "Package: kubelet kubeadm kubectl\nPin: version /^{version}([^0-9]|$)/\nPin-Priority: 1001\n"


@deploy("kubernetes packages")
def kubernetes_packages(programs: Sequence[str] = PROGRAMS, latest: bool = False) -> None:
    """Install these programs; a newer version than the machine has comes from packages only with `latest`."""
    if folder := offline():
        _programs(folder, programs)
        return
    version = str(host.data.kubernetes_version)
    pin = io.StringIO(PIN.format(version=re.escape(version)))
    files.put(name="The version that is wanted", src=pin, dest="/etc/apt/preferences.d/kubernetes")
    repository_is_new = _repository(new_key=latest) if host.data.source == "kubernetes" else bool

    def asked() -> bool:
        return latest or repository_is_new() or not {*PROGRAMS} <= {*host.get_fact(DebPackages)}

    apt.update(name="What packages there are", _if=asked)
    there = [_is_there(program, version) for program in programs]
    server.shell(name=f"Version {version} is among them", commands=there, _if=asked)
    apt.packages(name=", ".join(programs), packages=[*programs], no_recommends=True, latest=latest)
    systemd.service(name="kubelet at every start", service="kubelet", enabled=True, running=LATER)


def unreachable() -> str:
    """Return why this host cannot get the packages of the wanted version; empty: nothing is known to prevent it."""
    if host.data.source != "kubernetes":
        return ""
    address = f"{_address()}Release.key"
    why = host.get_fact(Unreachable, address=address)
    return f"it cannot get {address} ({why})" if why else ""


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


def _repository(new_key: bool) -> Callable[[], bool]:
    """Return how to ask whether it is new to this machine. A key is replaced from time to time, as it expires."""
    files.directory(name="Keys of sources", path="/etc/apt/keyrings")
    files.download(name="The Kubernetes project's key", src=f"{_address()}Release.key", dest=KEY, force=new_key)
    line = io.StringIO(f"deb [signed-by={KEY}] {_address()} /\n")
    return files.put(name="Its packages", src=line, dest=LIST).did_change


def _address() -> str:
    return REPOSITORY.format(minor=".".join(str(host.data.kubernetes_version).split(".")[:2]))


def _is_there(package: str, version: str) -> str:
    """Return the command that fails if a package is not there in this version: apt would take another one."""
    begins = shlex.quote(f"^{re.escape(version)}([^0-9]|$)")
    there = f"apt-cache madison {package} | cut -d '|' -f 2 | tr -d ' '"
    told = f"no {package} {version} in the package sources, only: $({there} | paste -sd ' ')"
    next_step = "Next: one of them as kubernetes_version in the inventory, or another source"
    return f'{there} | grep -Eq {begins} || {{ echo "{told}. {next_step}" >&2; false; }}'
