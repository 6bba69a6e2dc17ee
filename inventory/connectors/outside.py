"""Run in the namespaces of a container but outside its cgroup, where no BPF program of the node runs.

    [*outside_argv("socklb-worker"), "curl", ...]        on the node
    [*outside_argv("socklb-worker"), *inside_pod(uid), "curl", ...]     in a pod of it, with the pod's own files

The command stays in the caller's cgroup. So the containers' processes must be on this machine: a docker that runs
elsewhere is refused.
"""

import re
from pathlib import Path

from inventory.connectors.kind_cluster import docker
from inventory.connectors.netns_node import ENVIRONMENT
from inventory.connectors.this_machine import NodeError

_NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid", "--")
# The first process of a container, because any other may end before it is entered. The one named pause, which only
# holds the pod's network, is skipped.
_INTO_POD = """\
uid=$(echo "$0" | tr - _)
for process in /proc/[0-9]*; do
    grep -qE "pod($uid|$0)" "$process/cgroup" 2>/dev/null || continue
    grep -qE "^NSpid:.*[[:space:]]1$" "$process/status" 2>/dev/null || continue
    [ "$(cat "$process/comm")" = pause ] || exec nsenter --target="${process#/proc/}" NAMESPACES "$@"
done
echo "no process of pod $0 runs on this node" >&2
exit 1
""".replace("NAMESPACES", " ".join(_NAMESPACES))


def outside_argv(name: str) -> list[str]:
    """Return the prefix for a command that makes it run in the container's namespaces and not in its cgroup.

    Raises:
        NodeError: there is no such container, or it does not run on this machine.
    """
    container = docker("container", "inspect", "--format", "{{.Id}}", name).strip()
    return ["nsenter", f"--target={_first_process(container, name)}", *_NAMESPACES, "env", "-i", *ENVIRONMENT]


def inside_pod(uid: str) -> tuple[str, ...]:
    """Return the prefix for a command, on the pod's node, that makes it run in the pod."""
    return ("sh", "-c", _INTO_POD, uid)


def _first_process(container: str, name: str) -> int:
    """Return the pid on this machine of the container's process 1, whatever namespaces its docker has.

    A node's pods are containers in it, whose first processes are one namespace deeper.
    """
    found: list[tuple[int, int]] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            status = (process / "status").read_text()
            # The pid in the container's own namespace comes last (proc_pid_status(5)).
            numbers = re.search(r"^NSpid:(.*\t1)$", status, re.MULTILINE)
            if numbers and container in (process / "cgroup").read_text():
                found.append((len(numbers[1].split()), int(process.name)))
        except OSError:
            continue  # it has ended
    if found:
        return min(found)[1]
    raise NodeError(f"{name}: its processes are not on this machine, so nothing can run outside its cgroup")
