"""The datapath of one node: its objects, its pins, its hooks and its tables, opened for writing."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from socklb.datapath import hooks, libbpf, mounts
from socklb.datapath.pins import Pins
from socklb.datapath.tables import Tables
from socklb.errors import SocklbError

OBJECTS = Path(__file__).parent  # the wheel carries them here
SLOTS_SINCE = (5, 12)  # compare-and-swap in programs, commit 5ffa25502b5a


class NodeDatapath:
    """Load, read back, write, attach. Closing leaves everything that is pinned at work.

    with NodeDatapath(bpffs, cgroup, objects) as datapath:
        datapath.tables.apply(…)
        datapath.attach()
    """

    def __init__(self, bpffs: Path, cgroup: Path, objects: Path = OBJECTS) -> None:
        """Become the node's only writer, create or take over the maps, and read back what they hold.

        Raises:
            SocklbError: another agent serves the node, the file system is not bpffs, or an object is missing.
            BpfError: the kernel refused the programs or the maps.
        """
        mounts.check_bpffs(bpffs, mounts.read_mounts())
        self.cgroup = cgroup
        self.pins = Pins(bpffs)
        with ExitStack() as opened:
            self.pins.make()
            self.pins.lock()
            opened.callback(self.pins.unlock)
            self._object = opened.enter_context(libbpf.Object.open(_object_file(objects)))
            self._object.pin_maps(self.pins.maps)
            self._object.load()
            self.tables = Tables(self.pins.maps)
            opened.callback(self.tables.close)
            self._opened = opened.pop_all()

    def attach(self) -> None:
        """Let the hooks run: attach them, or swap the programs that an earlier agent left."""
        hooks.attach(self._object, self.cgroup, self.pins.links)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()


def _object_file(directory: Path) -> Path:
    path = directory / ("socklb.bpf.o" if kernel_release() >= SLOTS_SINCE else "socklb-5.10.bpf.o")
    if not path.is_file():
        raise SocklbError("no such eBPF object", value=path, hint="in a checkout: make build")
    return path


def kernel_release() -> tuple[int, int]:
    """Give the running kernel's version as (major, minor)."""
    major, minor = re.match(r"(\d+)\.(\d+)", os.uname().release).groups()  # type: ignore[union-attr]
    return int(major), int(minor)
