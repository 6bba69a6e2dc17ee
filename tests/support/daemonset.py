"""The agent as a DaemonSet in the place of the units: on every node of the kind cluster, and what it leaves there.

with instead_of_units(kubernetes):
    stop_units(kubernetes)
    …
    rolled_out(kubernetes)
"""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from inventory.place import Place
from tests.support.cluster import ROOT
from tests.support.kubernetes import Kubernetes

NAMESPACE = "kube-system"
SYSTEM = ("--namespace", NAMESPACE)
# linux/capability.h
BITS = {
    "NET_BIND_SERVICE": 10,
    "NET_ADMIN": 12,
    "NET_RAW": 13,
    "SYS_PTRACE": 19,
    "SYS_ADMIN": 21,
    "PERFMON": 38,
    "BPF": 39,
}
# As docs/operations.md says it for container runtimes that do not know CAP_BPF and CAP_PERFMON.
OLD_RUNTIME = ["SYS_ADMIN", "NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW", "SYS_PTRACE"]


@contextlib.contextmanager
def instead_of_units(kubernetes: Kubernetes) -> Iterator[None]:
    """Have the units as they were, and their account's rights, when the block ends."""
    try:
        yield
    finally:
        rights = (ROOT / "deploys/kubernetes/rbac.yaml").read_text()  # without the labels, as the deploys apply it
        kubernetes.kubectl("apply", "--filename", "-", given=rights)
        for node in kubernetes.nodes.values():
            node.output("systemctl", "start", "socklb-agent")
            node.output("socklb", "status", "--wait", "50")


def stop_units(kubernetes: Kubernetes) -> None:
    for node in kubernetes.nodes.values():
        node.output("systemctl", "stop", "socklb-agent")


def cgroup_of(node: Place) -> str:
    """Where the node has cgroup v2."""
    return node.output("sh", "-c", "findmnt -n -o TARGET -t cgroup2 | head -n 1").strip()


def needed_there(node: Place) -> list[str]:
    """The capabilities that a pod must name there, where the container runtime is too old for those of the files."""
    return [] if {BITS["BPF"], BITS["PERFMON"]} <= capabilities(node, "CapBnd") else OLD_RUNTIME


def capabilities(place: Place, of: str = "CapEff", process: int = 1) -> set[int]:
    """What a process there has, by bit."""
    said = place.output("cat", f"/proc/{process}/status")  # the agent's image has no sed
    mask = int(dict(line.split(":", 1) for line in said.splitlines())[of], 16)
    return {bit for bit in range(64) if mask >> bit & 1}


def rolled_out(kubernetes: Kubernetes) -> None:
    try:
        kubernetes.rolled_out("daemonset/socklb", *SYSTEM)
    except AssertionError:
        raise AssertionError(what_they_say(kubernetes)) from None


def what_they_say(kubernetes: Kubernetes, namespace: str = NAMESPACE) -> str:
    """The pods there and the ends of the agents' logs, for a message."""
    there = ("--namespace", namespace)
    words = ("logs", "--selector", "app.kubernetes.io/part-of=socklb", *there, "--tail=5", "--prefix")
    return f"{kubernetes.kubectl('get', 'pods', *there)}\n{kubernetes.kubectl(*words)}"


def agents(kubernetes: Kubernetes, namespace: str = NAMESPACE) -> list[Any]:
    return kubernetes.pods("app.kubernetes.io/name=socklb", "--namespace", namespace)


def status(kubernetes: Kubernetes, pod: Any) -> dict[str, Any]:
    agent = kubernetes.pod(pod["metadata"]["name"], pod["metadata"]["namespace"])
    return json.loads(agent.output("socklb", "status", "--json"))


# Asks the kernel how many programs eth0 has at its ingress (BPF_PROG_QUERY, BPF_TCX_INGRESS): the bpftool and tc of
# Debian 12 are too old for that.
AT_UPLINK = """
import ctypes, os, socket, struct, sys
number = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
asked = ctypes.create_string_buffer(struct.pack("=IIIIQI", socket.if_nametoindex("eth0"), 46, 0, 0, 0, 0), 64)
assert ctypes.CDLL(None).syscall(number, 16, asked, 64) == 0
sys.exit(not struct.unpack_from("=I", asked, 24)[0])
"""


def left_on(place: Place) -> int:
    """How many of the three are there: pins, programs at a device, routes of the agent's protocol number."""
    looks = (
        "find /sys/fs/bpf/socklb -type f | grep -q .",
        f"python3 -Ic '{AT_UPLINK}'",
        "ip route show proto 83 | grep -q .",
    )
    return sum(place.run("sh", "-c", look).returncode == 0 for look in looks)
