"""The datapath of one node: its objects, its pins, its hooks and its tables, opened for writing."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Self

from socklb.datapath import kernel, layout, libbpf, mounts, view
from socklb.datapath.keeper import Keeper
from socklb.datapath.maps import RowTable, map_info
from socklb.datapath.pins import Pins
from socklb.datapath.sizes import Sizes
from socklb.datapath.tables import Tables
from socklb.errors import SocklbError

SO_NETNS_COOKIE = 71  # socket(7); kernel 5.14, commit e8b9eab99232
OBJECTS = Path(__file__).parent  # the wheel carries them here
# Best first: errno of our choice (6.1), compare-and-swap in programs (5.12, commit 5ffa25502b5a), neither.
OBJECT_FILES = ("socklb.bpf.o", "socklb-5.12.bpf.o", "socklb-5.10.bpf.o")


class NodeDatapath:
    """Load, read back, write, attach. Closing leaves everything that is pinned at work.

    with NodeDatapath(bpffs, cgroup, objects) as datapath:
        datapath.tables.apply(…)
        datapath.attach()
    """

    def __init__(self, bpffs: Path, cgroup: Path, objects: Path = OBJECTS, sizes: Sizes = Sizes()) -> None:  # noqa: B008
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
            self.sizes = _pinned_sizes(self.pins.maps, sizes)
            self._object = _load(objects, self.pins, self.sizes)
            opened.callback(self._object.close)
            self.keeper = Keeper(self._object, cgroup, self.pins)
            opened.callback(self.keeper.close)
            self.tables = Tables(self.pins.maps)
            opened.callback(self.tables.close)
            self.netns = _netns_cookie()
            with closing(RowTable(self.pins.maps, "this_node", layout.NODE.size)) as this_node:
                this_node.publish(0, 0, self.netns)
            self._bookkeeping = RowTable(self.pins.maps, "bookkeeping", layout.BOOKKEEPING.size)
            opened.callback(self._bookkeeping.close)
            self._opened = opened.pop_all()

    @property
    def records(self) -> view.Bookkeeping:
        """What happened to sockets' records, also while somebody has unmounted the pins."""
        return view.Bookkeeping(*layout.BOOKKEEPING.unpack(self._bookkeeping.read(0)))

    def attach(self) -> None:
        """Let the hooks run: attach them, or swap the programs that an earlier agent left. All or none."""
        self.keeper.attach()
        self.pins.remove_older()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()


def _pinned_sizes(maps: Path, wanted: Sizes) -> Sizes:
    """Give the sizes of the tables that are pinned, which nothing may disturb, and of the others the wanted ones."""
    found = wanted.by_table()
    for name in found:
        if (maps / name).exists():
            descriptor = libbpf.get_pinned(maps / name)
            found[name] = int(map_info(descriptor, name).max_entries)
            os.close(descriptor)
    return Sizes(found["frontends"], found["backends"])


def _netns_cookie() -> int:
    """Give the cookie of this process' network namespace, the node's; 0 before kernel 5.14, which cannot say."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            return int.from_bytes(any_socket.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), sys.byteorder)
        except OSError:
            return 0


def _load(directory: Path, pins: Pins, sizes: Sizes) -> libbpf.Object:
    """Load the first object that the kernel takes. Trying beats asking for its version: vendors port features back."""
    first: libbpf.BpfError | None = None
    constants = kernel.read().packed
    for name in OBJECT_FILES:
        path = directory / name
        if not path.is_file():
            raise first or SocklbError("no such eBPF object", value=path, hint="in a checkout: make build")
        obj = libbpf.Object.open(path)
        try:
            obj.pin_maps(pins.maps, layout.MAPS)
            obj.resize_maps(sizes.by_table())
            obj.set_constants(constants)
            obj.load()
        except libbpf.BpfError as error:
            obj.close()
            first = first or error
        else:
            return obj
    raise first or AssertionError("OBJECT_FILES is empty")
