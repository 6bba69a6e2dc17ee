"""Where maps and links stay when no agent runs: <bpffs>/socklb/v2/{maps,links}, and who may write there."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from socklb.datapath import hooks
from socklb.errors import SocklbError

SCHEMA = 2  # of bpf/types.h and bpf/maps.h; another one gets another directory


class Pins:
    """The pin directories of one node."""

    def __init__(self, bpffs: Path) -> None:
        self.bpffs = bpffs
        self.root = bpffs / "socklb"
        self.maps = self.root / f"v{SCHEMA}" / "maps"
        self.links = self.root / f"v{SCHEMA}" / "links"
        self._lock: int | None = None

    def make(self) -> None:
        """Make the directories."""
        for directory in (self.maps, self.links):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def lock(self) -> None:
        """Be the only writer until this process ends or `unlock` is called.

        Raises:
            SocklbError: another process is.
        """
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise SocklbError(
                f"another agent serves this node: it holds the lock on {self.root}",
                hint="stop that one first; 'socklb status' names its process",
            ) from None
        self._lock = descriptor

    def unlock(self) -> None:
        """Let another process write."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def exist(self) -> bool:
        """Say whether anything is pinned."""
        return self.maps.is_dir() and any(self.maps.iterdir())

    def remove_older(self) -> None:
        """Detach and unpin what a version with another schema left, now that ours serves."""
        for directory in self.root.iterdir():
            if directory != self.maps.parent:
                _remove(directory)

    def remove(self) -> list[Path]:
        """Detach every hook and unpin everything, of every schema. Give what was unpinned."""
        return _remove(self.root) if self.root.is_dir() else []


def _remove(root: Path) -> list[Path]:
    for links in root.rglob("links"):
        hooks.detach(links)
    pins = [path for path in sorted(root.rglob("*")) if not path.is_dir()]
    for pin in pins:
        pin.unlink()
    for directory in sorted(root.rglob("*"), reverse=True):
        directory.rmdir()
    root.rmdir()
    return pins
