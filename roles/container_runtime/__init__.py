"""containerd as a kubelet needs it: CRI, cgroups by systemd, the sandbox image; and kernel settings for forwarding.

On machines without internet its packages and the images come from a folder: offline.py.
"""

import io
from pathlib import Path
from typing import Any

from pyinfra.api.deploy import deploy
from pyinfra.context import host
from pyinfra.facts.deb import DebPackages
from pyinfra.operations import apt, files, server, systemd

from roles.container_runtime.offline import folder_of_packages, image_archive, image_of_pods, offline
from roles.facts import DpkgIsCutOff, Newer
from roles.machine.paths import SYSCTLS
from roles.node.operations import sysctls

HERE = Path(__file__).parent
CONFIG = "/etc/containerd/config.toml"
SOCKET = "/run/containerd/containerd.sock"
# `apt-get install` finds each of them in both Debian and Ubuntu.
PACKAGES = ["containerd", "containernetworking-plugins", "iptables", "nftables", "conntrack", "ethtool", "socat"]
MODULES = "overlay\nbr_netfilter\n"
# The distribution's own daily one, or one of an interrupted run. What apt itself does not wait for is tried again.
PATIENCE = 'DPkg::Lock::Timeout "120";\n'
AGAIN: Any = {"_retries": 3, "_retry_delay": 20}


@deploy("container runtime")
def container_runtime() -> None:
    _kernel()
    patience = io.StringIO(PATIENCE)
    files.put(name="apt waits for another one", src=patience, dest="/etc/apt/apt.conf.d/50socklb", mode="644")
    if folder := offline():
        folder_of_packages(folder)
    else:
        apt.update(name="What packages there are", _if=_packages_are_missing, **AGAIN)
    whole_installation()
    apt.packages(name="containerd and what kubelet calls", packages=PACKAGES, no_recommends=True)
    files.template(
        name="containerd's configuration",
        src=str(HERE / "templates" / "containerd.toml.j2"),
        dest=CONFIG,
        lowers_oom_scores=host.data.lowers_oom_scores,
    )
    systemd.service(name="containerd with it", service="containerd", restarted=True, _if=_is_older)
    systemd.service(name="containerd runs", service="containerd", running=True, enabled=True)
    if folder:
        image_archive(folder, "node")
    else:
        image_of_pods()


def whole_installation() -> None:
    """Complete what an interrupted run left half installed; until then apt refuses to do anything."""
    server.shell(
        name="An installation that was cut off",
        commands=["dpkg --configure -a"],
        _if=lambda: host.get_fact(DpkgIsCutOff),
        **AGAIN,
    )


def _is_older() -> bool:
    """Return whether containerd was started before its configuration was written. It makes its socket at start."""
    return host.get_fact(Newer, path=CONFIG, than=SOCKET)


def _packages_are_missing() -> bool:
    return not {*PACKAGES} <= {*host.get_fact(DebPackages)}


def _kernel() -> None:
    modules = files.put(name="Modules at every start", src=io.StringIO(MODULES), dest="/etc/modules-load.d/socklb.conf")
    server.shell(name="Modules now", commands=["modprobe -a overlay br_netfilter || true"], _if=modules.did_change)
    settings = "".join(f"{key} = {value}\n" for key, value in SYSCTLS.items())
    files.put(name="Forwarding at every start", src=io.StringIO(settings), dest="/etc/sysctl.d/99-socklb.conf")
    sysctls(name="Forwarding now", values=SYSCTLS)
