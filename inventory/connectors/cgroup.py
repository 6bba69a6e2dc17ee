"""The cgroups of the local cluster: `<cgroup2>/socklb/<node>`, and `.unhooked` beside the nodes.

Nothing here touches the root cgroup. No controller is enabled below, so that a cgroup may hold processes and children.
"""

import os
import signal
import time
from pathlib import Path

from inventory.connectors.this_machine import NodeError

UNHOOKED = ".unhooked"  # no node can have this name
PATIENCE = 10.0  # seconds until a killed process must be gone


def mount_point() -> Path:
    """Return where cgroup v2 is mounted: /sys/fs/cgroup, or /sys/fs/cgroup/unified beside cgroup v1."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, filesystem = line.partition(" - ")
        if filesystem.startswith("cgroup2 "):
            return Path(mount.split()[4])
    raise NodeError("no cgroup v2 is mounted. Remedy: mount -t cgroup2 cgroup2 /sys/fs/cgroup")


def base() -> Path:
    return mount_point() / "socklb"


def of_node(node: str) -> Path:
    return base() / node


def of_unhooked() -> Path:
    return base() / UNHOOKED


def join_argv(group: Path) -> list[str]:
    """Return the prefix for a command that makes it start in this cgroup; "0" stands for the writer itself."""
    return ["sh", "-c", 'echo 0 > "$0/cgroup.procs" && exec "$@"', str(group)]


def remove(group: Path) -> None:
    """End every process in this cgroup and below, then remove it. BPF programs attached to it are removed with it."""
    if not group.is_dir():
        return
    _kill(group)
    below = sorted((path for path in group.rglob("*") if path.is_dir()), key=lambda path: len(path.parts))
    for path in [*reversed(below), group]:
        path.rmdir()


def _kill(group: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while "populated 1" in (group / "cgroup.events").read_text():
        if time.monotonic() > deadline:
            raise NodeError(f"{group} still holds processes {PATIENCE:.0f} s after SIGKILL: {processes(group)}")
        if (group / "cgroup.kill").exists():
            (group / "cgroup.kill").write_text("1")
        else:
            kill_one_by_one(group)
        time.sleep(0.01)


def kill_one_by_one(group: Path) -> None:
    """Kill all processes on kernels before 5.14, which have no cgroup.kill. They are frozen, so they cannot fork."""
    (group / "cgroup.freeze").write_text("1")
    for pid in processes(group):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    (group / "cgroup.freeze").write_text("0")


def processes(group: Path) -> list[int]:
    """Return the processes in this cgroup and below it."""
    return [int(pid) for file in group.rglob("cgroup.procs") for pid in file.read_text().split()]
