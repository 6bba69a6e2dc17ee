"""What would make the deploy fail later, or the cluster not work: pure, from what was read on each machine.

A Finding says what was found and what to type. A `fatal` one ends the deploy before anything is changed.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_interface, ip_network
from typing import NamedTuple

from roles.kubernetes_packages.versions import fits, numbers
from roles.preflight.facts import Seen

DISTRIBUTIONS = {"debian": ("12", "13"), "ubuntu": ("24.04",)}
OLDEST_KERNEL = (5, 10)
OLDEST_PYTHON = (3, 11)
MEMORY = {True: 1700, False: 700}  # MiB; kubeadm's own bound for a control plane is 1,700
DISK = 4 * 1024 * 1024  # KiB free: images, their layers and a log
SKEW = 10  # seconds; tokens and certificates are refused well before a minute
PORTS = {
    True: {6443: "kube-apiserver", 2379: "etcd", 2380: "etcd", 10257: "controller-manager", 10259: "scheduler"},
    False: {},
}
EVERY_PORT = {10250: "kubelet", 10249: "socklb's metrics", 10256: "socklb's health"}
OPENED = {True: ("6443/tcp", "2379-2380/tcp", "10250/tcp"), False: ("10250/tcp",)}
OURS = "10-socklb.conflist"


class Finding(NamedTuple):
    host: str
    what: str
    remedy: str
    fatal: bool = True


@dataclass(frozen=True)
class Machine:
    name: str
    seen: Seen
    addresses: Sequence[str]
    control_plane: bool = False
    cidrs: Sequence[str] = ()  # networks of pods and Services
    pythons: Sequence[str] = field(default_factory=tuple)  # versions with a bundle of the agent
    kubernetes: str = ""  # the version that it is to have
    missing_image: str = ""  # what its pods need and nobody has
    obstacle: tuple[str, str] | None = None  # why it cannot get Kubernetes' programs, and the remedy

    def said(self, key: str) -> str:
        return self.all(key)[0] if self.all(key) else ""

    def all(self, key: str) -> list[str]:
        return self.seen["said"].get(key, [])

    @property
    def ours(self) -> bool:
        """Return whether an earlier run began here: what that made is not a finding."""
        return bool(self.said("recorded"))


def judged(machines: Sequence[Machine]) -> list[Finding]:
    alone = [finding for machine in machines for look in ALONE for finding in look(machine)]
    return [*alone, *doubled(machines), *skewed(machines)]


def system(machine: Machine) -> Iterator[Finding]:
    name, _, version = machine.said("os").partition(" ")
    if version not in DISTRIBUTIONS.get(name, ()):
        known = "; ".join(f"{name} {', '.join(versions)}" for name, versions in DISTRIBUTIONS.items())
        yield Finding(
            machine.name, f"{name} {version} is no distribution that these roles know", f"install one of {known}"
        )
    if machine.said("init") != "systemd":
        yield Finding(machine.name, f"process 1 is {machine.said('init')}", "a machine whose services systemd starts")
    if machine.said("hostname") != machine.name:
        remedy = f"hostnamectl set-hostname {machine.name}, or its name in the inventory"
        yield Finding(machine.name, f"it calls itself {machine.said('hostname')}", remedy)
    yield from python(machine)


def python(machine: Machine) -> Iterator[Finding]:
    present = sorted(machine.all("python"), key=numbers)
    if {*present} & {*machine.pythons}:
        return
    fitting = [version for version in present if numbers(version) >= OLDEST_PYTHON]
    if fitting:
        version = fitting[-1]
        yield Finding(machine.name, f"no bundle of the agent for Python {version}", f"setup/build-agent.sh {version}")
    elif present:
        remedy = "apt-get install python3.11 there, and setup/build-agent.sh 3.11 here"
        yield Finding(machine.name, f"Python {present[-1]}: the agent needs 3.11", remedy)


def kernel(machine: Machine) -> Iterator[Finding]:
    release = machine.said("kernel")
    if tuple(map(int, release.split("-")[0].split(".")[:2])) < OLDEST_KERNEL:
        yield Finding(machine.name, f"Linux {release}: the agent needs 5.10", "a newer kernel, and a reboot")
    if not machine.said("btf"):
        remedy = "a kernel with CONFIG_DEBUG_INFO_BTF, as the distribution's own has"
        yield Finding(machine.name, "no /sys/kernel/btf/vmlinux", remedy)
    if not machine.said("cgroup2"):
        yield Finding(
            machine.name, "no cgroup v2 is mounted", "systemd.unified_cgroup_hierarchy=1 for the kernel, reboot"
        )
    if not machine.said("bpffs"):
        yield Finding(
            machine.name, "no bpffs at /sys/fs/bpf", "systemctl start sys-fs-bpf.mount, or mount -t bpf bpf /sys/fs/bpf"
        )
    if swap := machine.all("swap"):
        yield Finding(machine.name, f"swap is on: {', '.join(swap)}", "swapoff -a, and its line out of /etc/fstab")


def kubelet(machine: Machine) -> Iterator[Finding]:
    """Yield a kubelet of another version: what follows would bring the new one to every machine at once."""
    present = machine.said("kubelet")
    if present and not fits(present, machine.kubernetes):
        what = f"its kubelet is {present}, and the inventory says {machine.kubernetes}"
        yield Finding(machine.name, what, "pyinfra inventory/bare_metal.py deploys/upgrade.py")


def room(machine: Machine) -> Iterator[Finding]:
    least, memory = MEMORY[machine.control_plane], int(machine.said("memory_kib") or 0) // 1024
    if memory < least:
        yield Finding(machine.name, f"{memory} MiB of memory", f"{least} MiB or more")
    free = int(machine.said("disk_kib") or 0)
    if free < DISK and not machine.ours:
        yield Finding(machine.name, f"{free >> 10} MiB are free in /var/lib", f"make room: {DISK >> 10} MiB or more")
    for place in machine.all("noexec"):
        remedy = f"mount -o remount,exec {place}, and without noexec in /etc/fstab"
        yield Finding(machine.name, f"{place} is mounted noexec, and programs are put there", remedy)


def sources(machine: Machine) -> Iterator[Finding]:
    if machine.obstacle:
        yield Finding(machine.name, *machine.obstacle)
    if image := machine.missing_image:
        remedy = "images/tools.sh; or name one with nginx, dnsmasq, curl and dig in tools_image"
        yield Finding(machine.name, f"no registry has {image}, which the workload's pods run", remedy)


def clusters(machine: Machine) -> Iterator[Finding]:
    """Yield what another cluster, network or proxy has left."""
    if machine.ours:
        return
    if found := machine.said("member"):
        yield Finding(
            machine.name, f"it is a node of a cluster already ({found})", "deploys/adopt.py, or kubeadm reset"
        )
    if found := machine.said("kube_proxy"):
        yield Finding(machine.name, f"a kube-proxy runs ({found})", "deploys/adopt.py, or end it")
    if others := [file for file in machine.all("cni") if file != OURS]:
        yield Finding(machine.name, f"another pod network in /etc/cni/net.d: {', '.join(others)}", "remove the file")
    taken = {int(port, 16) for port in machine.all("listens_hex")}
    for port, what in (PORTS[machine.control_plane] | EVERY_PORT).items():
        if port in taken:
            yield Finding(machine.name, f"port {port} of {what} is in use", f"ss -ltnp sport = :{port}, and end that")


def network(machine: Machine) -> Iterator[Finding]:
    present = {str(ip_interface(one).ip) for one in machine.all("address")}
    for address in machine.addresses:
        if address not in present:
            remedy = f"one of {', '.join(sorted(present))} in the inventory; behind NAT ssh_hostname too"
            yield Finding(machine.name, f"it does not have its address {address}", remedy)
    for route in machine.all("route"):
        for cidr in machine.cidrs:
            if not machine.ours and ip_network(route, strict=False).overlaps(ip_network(cidr)):  # type: ignore[arg-type]
                yield Finding(
                    machine.name, f"its route to {route} overlaps with {cidr}", "other pod_cidrs, service_cidrs"
                )
    if not machine.all("nameserver"):
        yield Finding(machine.name, "no name server in /etc/resolv.conf", "name one: coredns forwards to it")
    yield from firewalls(machine)


def firewalls(machine: Machine) -> Iterator[Finding]:
    wanted = [port for port in OPENED[machine.control_plane] if port not in machine.all("opened")]
    if machine.said("firewalld"):
        opens = " ".join(f"--add-port={port}" for port in wanted)
        trusts = " ".join(f"--add-source={cidr}" for cidr in machine.cidrs)
        remedy = (
            f"firewall-cmd --permanent {opens}; firewall-cmd --permanent --zone=trusted {trusts}; firewall-cmd --reload"
        )
        yield Finding(machine.name, f"firewalld closes {', '.join(wanted) or 'what pods send'}", remedy, bool(wanted))
    if machine.said("ufw"):
        opens = "; ".join(f"ufw allow {port.replace('-', ':')}" for port in wanted)
        what = f"ufw closes {', '.join(wanted)}" if wanted else "ufw may drop what is forwarded to pods"
        yield Finding(machine.name, what, "; ".join(filter(None, [opens, "ufw default allow routed"])), bool(wanted))


def clock(machine: Machine) -> Iterator[Finding]:
    if machine.said("synchronised") == "no":
        yield Finding(machine.name, "its clock is not synchronised", "timedatectl set-ntp true", fatal=False)


def skewed(machines: Sequence[Machine]) -> Iterator[Finding]:
    """Yield clocks that differ from the median, so that one wrong clock is one finding."""
    clocks = sorted(machine.seen["ahead"] for machine in machines)
    for machine in machines:
        if abs(away := machine.seen["ahead"] - clocks[len(clocks) // 2]) > SKEW:
            yield Finding(machine.name, f"its clock is {away:+.0f} s off the others'", "timedatectl set-ntp true")


def doubled(machines: Sequence[Machine]) -> Iterator[Finding]:
    """Yield cloned machines: Kubernetes distinguishes Nodes by these values."""
    for key, what, remedy in (
        ("machine_id", "machine-id", "rm /etc/machine-id; systemd-machine-id-setup; reboot"),
        ("mac", "hardware address", "another one in the virtual machine's settings"),
    ):
        owners: Mapping[str, list[str]] = defaultdict(list)
        for machine in machines:
            for value in set(machine.all(key)):
                owners[value].append(machine.name)
        for value, names in owners.items():
            for name in names[1:]:
                yield Finding(name, f"its {what} {value} is also that of {names[0]}", remedy)


ALONE = (system, kernel, kubelet, sources, room, clusters, network, clock)
