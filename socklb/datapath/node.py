"""The datapath of one node: its objects, its pins, its hooks and its tables, opened for writing."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from socklb.datapath import hooks, layout, libbpf, mounts
from socklb.datapath.pins import Pins
from socklb.datapath.tables import Tables
from socklb.errors import SocklbError

OBJECTS = Path(__file__).parent  # the wheel carries them here
# Best first: errno of our choice (6.1), compare-and-swap in programs (5.12, commit 5ffa25502b5a), neither.
OBJECT_FILES = ("socklb.bpf.o", "socklb-5.12.bpf.o", "socklb-5.10.bpf.o")


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
            self._object = _load(objects, self.pins)
            opened.callback(self._object.close)
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


def _load(directory: Path, pins: Pins) -> libbpf.Object:
    """Load the first object that the kernel takes. Trying beats asking for its version: vendors port features back."""
    first: libbpf.BpfError | None = None
    for name in OBJECT_FILES:
        path = directory / name
        if not path.is_file():
            raise first or SocklbError("no such eBPF object", value=path, hint="in a checkout: make build")
        obj = libbpf.Object.open(path)
        try:
            obj.pin_maps(pins.maps, layout.MAPS)
            obj.load()
        except libbpf.BpfError as error:
            obj.close()
            first = first or error
        else:
            return obj
    raise first or AssertionError("OBJECT_FILES is empty")
