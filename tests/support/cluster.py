"""The local cluster in tests: build it through pyinfra, run commands in its nodes and pods, look at what it left.

cluster.node("w1").run("ip", "route").stdout
cluster.pod("client").run("curl", "-s", url, hooked=False)      # outside the hooks' cgroup: the control
"""

import ctypes
import json
import os
import subprocess
import sys
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inventory import hosts
from inventory.connectors import cgroup, netns_node
from inventory.place import Place, Text, machine, pod_by_hand

ROOT = Path(__file__).parents[2]


class Cluster:
    def __init__(self, inventory: str = "local") -> None:
        self.hosts = hosts.load(hosts.path(inventory))

    @property
    def nodes(self) -> dict[str, Place]:
        """The nodes proper, without the machine outside."""
        return {hosts.short_name(host): machine(hosts.short_name(host), host) for host in self.hosts.get_group("nodes")}

    @property
    def pods(self) -> dict[str, Place]:
        return {name: self.pod(name) for host in self.hosts.get_group("nodes") for name in host.data.pods}

    def node(self, name: str) -> Place:
        (found,) = [host for host in self.hosts if hosts.short_name(host) == name]
        return machine(name, found)

    def pod(self, name: str) -> Place:
        (found,) = [host for host in self.hosts.get_group("nodes") if name in host.data.pods]
        return pod_by_hand(name, found)

    def addresses(self, pod: str) -> list[str]:
        """The pod's addresses, IPv4 before IPv6."""
        listed = json.loads(machine(pod, self.pod(pod).entry.host).output("pod", "list", "--json"))
        return next(entry["addresses"] for entry in listed if entry["name"] == pod)

    def exists(self) -> bool:
        return bool(netns_node.nodes())


def pyinfra(*arguments: str, given: str = "", timeout: float = 300, **environment: str) -> Text:
    """The literal command, as typed in the project's folder."""
    return subprocess.run(
        [Path(sys.executable).with_name("pyinfra"), *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        input=given,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def deploy(name: str, *more: str) -> dict[str, Any]:
    """Run deploys/<name>.py to success, with more words for pyinfra, and give its results."""
    done = pyinfra("inventory", f"deploys/{name}.py", "-y", "--json", *more)
    assert done.returncode == 0, f"deploys/{name}.py: {done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    results: dict[str, Any] = json.loads(done.stdout)["results"]
    assert results["totals"]["hosts"], "pyinfra found no hosts, which it does not call a failure"
    return results


def changes(results: dict[str, Any]) -> list[str]:
    """The operations that changed something."""
    return [operation["name"] for operation in results["operations"] if operation["success"]]


def traces() -> list[str]:
    """What of the cluster can be seen on the host: nothing of it may be there after a teardown."""
    places = [Path("/run/socklb"), cgroup.base(), *Path("/run/netns").glob("socklb-*")]
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    ours = [str(place) for place in places if place.exists()]
    ours += [f"{mount} (mount)" for mount in mounts if mount.startswith(("/run/socklb", "/run/netns/socklb"))]
    # Namespaces of other tests, of the dockers that they use, and of a bench.
    others = ("socklb-test", "socklb-docker", "socklb-machines", "socklb-bench")
    return sorted(trace for trace in ours if not any(other in trace for other in others))


@dataclass(frozen=True)
class HostSettings:
    """What a cluster never changes: the host's routes, sysctls, and BPF at the root cgroup."""

    routes: list[str]
    sysctls: dict[str, str]
    root_programs: list[int]

    @classmethod
    def now(cls) -> "HostSettings":
        routes = _lines_of("ip", "route", "show", "table", "all") + _lines_of("ip", "-6", "route")
        return cls(routes, _sysctls(), root_programs())


# Counters, and what the kernel or this machine's other work moves by itself.
MOVING = ("fs.dentry-state", "fs.file-nr", "fs.inode", "fs.quota", "kernel.random", "kernel.ns_last_pid", "kernel.pty")


def _sysctls() -> dict[str, str]:
    lines = _lines_of("sysctl", "-a")
    pairs = (line.partition(" = ")[::2] for line in lines)
    return {key: value for key, value in pairs if not key.startswith(MOVING) and not key.endswith("_count")}


def root_programs() -> list[int]:
    """The ids of all BPF programs attached to the host's root cgroup, of every kind that a cgroup can have."""
    libbpf = ctypes.CDLL(find_library("bpf"))
    root = os.open(cgroup.mount_point(), os.O_RDONLY)
    found: list[int] = []
    for attach_type in range(64):
        count, ids = ctypes.c_uint32(64), (ctypes.c_uint32 * 64)()
        if libbpf.bpf_prog_query(root, attach_type, 0, None, ids, ctypes.byref(count)) == 0:
            found += ids[: count.value]
    os.close(root)
    return sorted(found)


def _lines_of(*argv: str) -> list[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines()
