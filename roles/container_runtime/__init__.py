"""containerd as a kubelet needs it: CRI, cgroups by systemd, the sandbox image; and kernel settings for forwarding.

On machines without internet its packages and the images come from a folder: offline.py.
"""

import io
from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host
from pyinfra.facts.deb import DebPackages
from pyinfra.operations import apt, files, server, systemd

from roles.container_runtime.offline import TOOLS_IMAGE, folder_of_packages, image_archive, image_of_pods, offline
from roles.facts import DpkgIsCutOff, Newer
from roles.machine.paths import SYSCTLS
from roles.node.operations import sysctls

HERE = Path(__file__).parent
CONFIG = "/etc/containerd/config.toml"
SOCKET = "/run/containerd/containerd.sock"
# `apt-get install` finds each of them in both Debian and Ubuntu.
PACKAGES = ["containerd", "containernetworking-plugins", "iptables", "nftables", "conntrack", "ethtool", "socat"]
MODULES = "overlay\nbr_netfilter\n"


@deploy("container runtime")
def container_runtime() -> None:
    _kernel()
    if folder := offline():
        folder_of_packages(folder)
    else:
        apt.update(name="What packages there are", _if=_packages_are_missing)
    server.shell(
        name="An installation that was cut off",
        commands=["flock --timeout 120 /var/lib/dpkg/lock-frontend dpkg --configure -a"],
        _if=lambda: host.get_fact(DpkgIsCutOff),
    )
    apt.packages(
        name="containerd and what kubelet calls",
        packages=PACKAGES,
        no_recommends=True,
        extra_install_args="-o DPkg::Lock::Timeout=120",  # of an apt that an interrupted run has left running
    )
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
    elif host.data.tools_image == TOOLS_IMAGE:
        image_of_pods()


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
