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

from roles.container_runtime import AGAIN, whole_installation
from roles.container_runtime.offline import offline, verified
from roles.kubernetes_packages.facts import NEITHER, FromFolder, Unreachable
from roles.kubernetes_packages.versions import fits

HERE = Path(__file__).parent
LATER: Any = None  # kubeadm starts it
PROGRAMS = ["kubelet", "kubeadm", "kubectl"]
REPOSITORY = "https://pkgs.k8s.io/core:/stable:/v{minor}/deb/"
KEY = "/etc/apt/keyrings/kubernetes.asc"
LIST = "/etc/apt/sources.list.d/kubernetes.list"
REACH = "let it reach that, or change kubernetes_version or source in the inventory"
BACK = "source as it was; or deploys/teardown.py of that machine first, with --limit"
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
    files.put(name="The version that is wanted", src=pin, dest="/etc/apt/preferences.d/kubernetes", mode="644")
    repository_is_new = _repository(new_key=latest) if host.data.source == "kubernetes" else bool
    replaces = latest or not _fits(_installed())

    def asked() -> bool:
        return replaces or repository_is_new() or not {*PROGRAMS} <= {*_installed()}

    apt.update(name="What packages there are", _if=asked, **AGAIN)
    there = [is_there(program, version) for program in PROGRAMS]
    server.shell(name=f"Version {version} is among them", commands=there, _if=asked)
    whole_installation()
    apt.packages(
        name=", ".join(programs),
        packages=[*programs],
        no_recommends=True,
        latest=replaces,
        allow_downgrades=replaces,
    )
    systemd.service(name="kubelet at every start", service="kubelet", enabled=True, running=LATER)


def obstacle() -> tuple[str, str] | None:
    """Return why this host cannot get the wanted version, and the remedy; None: nothing is known that hinders it."""
    installed = _installed()
    if offline():
        if "kubelet" in installed:
            return "its kubelet is of a package, and source is a folder", BACK
        return None
    if host.get_fact(FromFolder):
        return f'its kubelet is of a folder, and source is "{host.data.source}"', BACK
    if host.data.source != "kubernetes" or ({*PROGRAMS} <= {*installed} and _fits(installed)):
        return None
    address = f"{_address()}Release.key"
    why = host.get_fact(Unreachable, address=address)
    if not why:
        return None
    remedy = "apt-get install curl ca-certificates, there" if why == NEITHER else REACH
    return f"it cannot get {address} ({why})", remedy


def _installed() -> dict[str, set[str]]:
    """Return the versions of those packages that this host has."""
    packages: dict[str, set[str]] = host.get_fact(DebPackages)
    return {name: packages[name] for name in PROGRAMS if name in packages}


def _fits(installed: dict[str, set[str]]) -> bool:
    return all(fits(version, str(host.data.kubernetes_version)) for found in installed.values() for version in found)


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
    files.directory(name="Keys of sources", path="/etc/apt/keyrings", mode="755")
    key = f"{_address()}Release.key"
    files.download(name="The Kubernetes project's key", src=key, dest=KEY, force=new_key, mode="644")
    line = io.StringIO(f"deb [signed-by={KEY}] {_address()} /\n")
    return files.put(name="Its packages", src=line, dest=LIST, mode="644").did_change


def _address() -> str:
    return REPOSITORY.format(minor=".".join(str(host.data.kubernetes_version).split(".")[:2]))


def is_there(package: str, version: str) -> str:
    """Return the command that fails if a package is not there in this version: apt would take another one."""
    begins = shlex.quote(f"^{re.escape(version)}([^0-9]|$)")
    there = f"apt-cache madison {package} | cut -d '|' -f 2 | tr -d ' '"
    told = f"no {package} {version} in the package sources, only: $({there} | paste -sd ' ')"
    next_step = "Next: one of them as kubernetes_version in the inventory, or another source"
    return f'{there} | grep -Eq {begins} || {{ echo "{told}. {next_step}" >&2; false; }}'
