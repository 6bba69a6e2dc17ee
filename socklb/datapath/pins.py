"""Where maps and links are pinned when no agent runs: <bpffs>/socklb/v3/{maps,links}; and the lock to write there.

Whoever can write there controls the hooks, so only root may access it. Tables of another schema, or of a size that
cannot be taken over, are in folders of their own beside ours: see `older`.
"""

from __future__ import annotations

import os
import stat
from itertools import count
from pathlib import Path

from socklb.datapath import hooks, older
from socklb.datapath.lock import Lock
from socklb.errors import SocklbError

SCHEMA = 3  # of bpf/types.h and the tables; each schema has a directory of its own
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Pins:
    """The pin directories of one node."""

    def __init__(self, bpffs: Path, run: Path | None = None) -> None:
        """Set the BPF file system and, for a writer, the folder of the agent's socket, where the lock is."""
        self.bpffs = bpffs
        self.root = bpffs / "socklb"
        self.maps = self.root / f"v{SCHEMA}" / "maps"
        self.links = self.root / f"v{SCHEMA}" / "links"
        self.tc = self.root / f"v{SCHEMA}" / "tc"  # for the packet path
        self.tc_maps, self.tc_links = self.tc / "maps", self.tc / "links"
        self._lock = Lock(self.root, run)

    def make(self) -> None:
        """Make the directories.

        Raises:
            SocklbError: another user than root may write to the file system, or made a directory first.
        """
        _refuse_others(self.bpffs)
        for directory in (self.root, self.maps.parent, self.maps, self.links):
            directory.mkdir(mode=0o700, exist_ok=True)
            _refuse_foreign(directory)
            directory.chmod(0o700)

    def lock(self) -> None:
        """Become the only writer until this process ends or `unlock` is called.

        Raises:
            SocklbError: another process is the writer.
        """
        self._lock.take()

    def unlock(self) -> None:
        """Let another process write."""
        self._lock.release()

    def exist(self) -> bool:
        """Return whether anything is pinned."""
        return self.maps.is_dir() and any(self.maps.iterdir())

    def set_aside(self) -> Path:
        """Make room for tables of other sizes: the present ones are treated as an older schema from now on."""
        places = (self.root / f"v{SCHEMA}-{number}" for number in count(1))
        aside = next(place for place in places if not place.exists())
        self.maps.parent.rename(aside)
        self.make()
        return aside

    @property
    def older(self) -> list[Path]:
        """Return the folders of other schemas."""
        return [folder for folder in self.root.iterdir() if folder != self.maps.parent] if self.root.is_dir() else []

    def retire_older(self) -> None:
        """Stop translation by other schemas, now that ours serves; their sockets continue to see the Service."""
        for folder in self.older:
            older.retire(folder)
        self.forget_older()

    def forget_older(self) -> bool:
        """Remove other schemas whose sockets are closed; return whether one is left."""
        for folder in self.older:
            if older.is_unused(folder):
                _remove(folder)
        return bool(self.older)

    def remove(self) -> list[Path]:
        """Detach every hook and unpin everything, of every schema. Return what was unpinned."""
        return _remove(self.root) if self.root.is_dir() else []


def _refuse_others(bpffs: Path) -> None:
    found = bpffs.stat()
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & OTHERS_MAY_WRITE:
        raise SocklbError(
            f"others than root may write to the BPF file system {bpffs} and so take over the hooks",
            value=f"uid {found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o}",
            valid="uid 0, mode 0700",
            hint=f"chown 0:0 {bpffs} && chmod 0700 {bpffs}",
        )


def _refuse_foreign(directory: Path) -> None:
    found = directory.lstat()
    if found.st_uid not in (0, os.geteuid()) or not stat.S_ISDIR(found.st_mode):
        raise SocklbError(
            f"somebody else than root made {directory}",
            value=f"uid {found.st_uid}",
            valid="a directory of uid 0",
            hint=f"find out who did, then rm -r {directory}",
        )


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
