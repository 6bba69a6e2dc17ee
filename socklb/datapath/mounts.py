"""Where this node's cgroup-v2 hierarchy and its bpffs are mounted (/proc/self/mountinfo, proc(5))."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

from socklb.errors import SocklbError

MOUNTINFO = Path("/proc/self/mountinfo")
OWN_CGROUP_MOUNT = Path("/run/socklb/cgroup2")


class Mount(NamedTuple):
    """A line of mountinfo: the part of the file system that is mounted, where, and its type."""

    root: str
    point: Path
    type: str


def read_mounts(mountinfo: Path = MOUNTINFO) -> list[Mount]:
    """Return the mounts that this process sees, in the order they were made."""
    mounts: list[Mount] = []
    for line in mountinfo.read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        parts = fields.split()
        mounts.append(Mount(_unescape(parts[3]), Path(_unescape(parts[4])), rest.split()[0]))
    return mounts


def cgroup2_root(mounts: list[Mount]) -> Path | None:
    """Return the mount point of all of the cgroup-v2 hierarchy that this process may see.

    On a hybrid machine it is below the v1 controllers (/sys/fs/cgroup/unified); in a container with a cgroup namespace
    it is the container's own part.
    """
    whole = [mount.point for mount in mounts if mount.type == "cgroup2" and mount.root == "/"]
    return min(whole, key=lambda point: len(point.parts), default=None)


def find_or_mount_cgroup2() -> Path:
    """Return the cgroup-v2 root; it is mounted at `OWN_CGROUP_MOUNT` if it was not mounted anywhere."""
    found = cgroup2_root(read_mounts())
    if found is not None:
        return found
    OWN_CGROUP_MOUNT.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "cgroup2", "none", str(OWN_CGROUP_MOUNT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SocklbError(
            f"no cgroup-v2 hierarchy is mounted, and '{' '.join(command)}' failed: {done.stderr.strip()}",
            valid="a kernel with cgroup v2, 5.10 or later",
        )
    return OWN_CGROUP_MOUNT


def is_bpffs(path: Path, mounts: list[Mount]) -> bool:
    """Return whether a BPF file system is visible at `path`: the last mount there covers earlier ones."""
    here = [mount.type for mount in mounts if mount.point == path]
    return bool(here) and here[-1] == "bpf"


def check_bpffs(path: Path, mounts: list[Mount]) -> None:
    """Stop if `path` is not a BPF file system: pins elsewhere would not outlive the agent."""
    if not is_bpffs(path, mounts):
        raise SocklbError("not a BPF file system", value=path, hint=" ".join(_mount_bpffs(path)))


def mount_bpffs(path: Path) -> None:
    """Mount a BPF file system that only root may enter: whoever can write there controls the hooks.

    Raises:
        SocklbError: it cannot be mounted, for example in a container.
    """
    done = subprocess.run(_mount_bpffs(path), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SocklbError(
            f"no BPF file system is mounted at {path}, and this process cannot: {done.stderr.strip()}",
            hint=f"on the node: {' '.join(_mount_bpffs(path))}",
        )


def _mount_bpffs(path: Path) -> list[str]:
    """Mount it with a mode of its own: the default is 1777 (bpf_fill_super() in kernel/bpf/inode.c)."""
    return ["mount", "-t", "bpf", "bpf", str(path), "-o", "mode=0700"]


def _unescape(text: str) -> str:
    for octal, char in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        text = text.replace(octal, char)
    return text
