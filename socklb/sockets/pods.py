"""Whose a socket is: the pod and container from its cgroup's path, and the pod's name if the kubelet provides it.

    pods = Pods(cgroup)
    pods.by_cgroup(id_)             # Pod
    pods.of_process(pid)            # if the kernel does not tell a socket's own cgroup (before Linux 5.9)

The kubelet keeps a folder for each pod, /var/log/pods/NAMESPACE_NAME_UID, whatever the runtime.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

# …/kubepods-burstable-pod<uid with _>.slice/cri-containerd-<id>.scope or …/kubepods/burstable/pod<uid>/<id>. The UID of
# a static pod from a kubelet's file is a bare hash.
UID = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})\b")
CONTAINER = re.compile(r"(?:^|[-/])([0-9a-f]{64})(?:\.scope)?(?:/|$)")
LOGS = (Path("/var/log/pods"), Path("/proc/1/root/var/log/pods"))  # the second: an agent in a container


class Pod(NamedTuple):
    """The owner of a socket. `cgroup` is relative to the node's; `name` is NAMESPACE/NAME; empty: not known."""

    cgroup: str = ""
    uid: str = ""
    container: str = ""
    name: str = ""

    @property
    def text(self) -> str:
        """Return the shortest text that identifies it."""
        return self.name or self.uid or self.cgroup


class Pods:
    """See the module."""

    def __init__(self, node: Path) -> None:
        """Read the cgroups once; `node` is the cgroup of the node's hooks."""
        self._node = node
        self._paths = dict(below(node, "/"))
        self._names = _names()

    @cache  # noqa: B019 - lives as long as one look
    def by_cgroup(self, id_: int) -> Pod | None:
        """Return the pod of a cgroup; None: there is no such cgroup (any more) at or below the node's."""
        path = self._paths.get(id_)
        return None if path is None else self.of_path(path)

    def find(self, text: str) -> list[Pod]:
        """Return the cgroups of a pod, by [NAMESPACE/]NAME or UID, or one by its path below the node's."""
        found = map(self.of_path, self._paths.values())
        return [
            pod for pod in found if text in (pod.name, pod.name.rpartition("/")[2], pod.uid, pod.cgroup.lstrip("/"))
        ]

    def holding(self, pid: int) -> Pod | None:
        """Search all cgroups for a process of our pid namespace."""
        found = (path for path in self._paths.values() if _has(self._node / path.lstrip("/"), pid))
        return next(map(self.of_path, found), None)

    def of_process(self, pid: int) -> Pod | None:
        """Return the pod of a process, by its cgroup."""
        root = self._node.resolve()
        try:
            text = Path(f"/proc/{pid}/cgroup").read_text()
        except OSError:
            return None
        unified = next((line[3:] for line in text.splitlines() if line.startswith("0::")), "")
        for base in (root, *root.parents):
            at = base / unified.lstrip("/")
            if at.is_relative_to(root) and _has(at, pid):
                return self.of_path("/" + str(at.relative_to(root)).removeprefix("."))
        return None

    def above(self, pod: Pod) -> Iterator[tuple[int, str]]:
        """Yield id and path of each cgroup from just below the node's down to the pod's."""
        names = [name for name in pod.cgroup.split("/") if name]
        for path in accumulate(names, lambda above, name: f"{above}/{name}"):
            with suppress(OSError):  # removed
                yield (self._node / path).stat().st_ino, f"/{path}"

    def of_path(self, path: str) -> Pod:
        """Return the pod of a cgroup, by its path below the node's."""
        uid, container = UID.search(path), CONTAINER.search(path)
        known = uid.group(1).replace("_", "-") if uid else ""
        return Pod(path, known, container.group(1) if container else "", self._names.get(known, ""))


def below(folder: Path, path: str) -> Iterator[tuple[int, str]]:
    """Yield id and path of a cgroup and of all below it: the id is the folder's inode."""
    try:
        yield folder.stat().st_ino, path
        with os.scandir(folder) as entries:
            inner = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:  # removed meanwhile
        return
    for name in inner:
        yield from below(folder / name, f"{path.rstrip('/')}/{name}")


def _has(cgroup: Path, pid: int) -> bool:
    """Return whether a process is in a cgroup: the same path may mean another one, depending on its root."""
    try:
        return str(pid) in (cgroup / "cgroup.procs").read_text().split()
    except OSError:
        return False


def _names() -> dict[str, str]:
    found: dict[str, str] = {}
    for folder in LOGS:
        with suppress(OSError):  # it does not exist, or access is denied
            parts = (entry.name.split("_") for entry in os.scandir(folder))
            found.update((uid, f"{namespace}/{name}") for namespace, name, uid in (p for p in parts if len(p) == 3))
    return found
