"""Cgroups below the node's: those that match a pattern, and those of pods.

matching(cgroup, "system.slice/proxy-*.service")    # Place, …
of_pods(cgroup, {uid})                              # {uid: Place}: those that exist
by_ids(cgroup, {id_})                               # {id: Place}
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

from socklb.sockets.pods import UID, below


class Place(NamedTuple):
    """A cgroup: its id, and its path below the node's, such as /system.slice."""

    id: int
    path: str


def matching(node: Path, pattern: str) -> Iterator[Place]:
    """Yield the cgroups that match a pattern."""
    for folder in node.glob(pattern.strip("/")):
        if folder.is_dir() and (place := place_of(node, "/" + str(folder.relative_to(node)))):
            yield place


def place_of(node: Path, path: str) -> Place | None:
    """Return the cgroup of a path below the node's, if it exists."""
    try:
        return Place((node / path.lstrip("/")).stat().st_ino, path)
    except OSError:  # removed
        return None


def by_ids(node: Path, ids: AbstractSet[int]) -> dict[int, Place]:
    """Return cgroups by their ids, from all that exist."""
    return {id_: Place(id_, path) for id_, path in below(node, "/") if id_ in ids} if ids else {}


def of_pods(node: Path, uids: AbstractSet[str]) -> dict[str, Place]:
    """Return the cgroups of pods; those of their containers are below them and are not searched."""
    return {uid: place for uid, place in _pods(node, "") if uid in uids}


def _pods(node: Path, path: str) -> Iterator[tuple[str, Place]]:
    try:
        with os.scandir(node / path.lstrip("/")) as entries:
            folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:  # removed meanwhile
        return
    for folder in folders:
        inner, uid = f"{path}/{folder.name}", UID.search(folder.name)
        if uid is None:
            yield from _pods(node, inner)
        elif place := place_of(node, inner):
            yield uid.group(1).replace("_", "-"), place
