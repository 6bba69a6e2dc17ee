"""The datapath of one node: its objects, its pins, its hooks and its tables, opened for writing."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Self

from socklb.datapath import features, growth, kernel, layout, libbpf, mounts, view
from socklb.datapath.keeper import Keeper
from socklb.datapath.maps import RowTable, map_info, pinned_shape
from socklb.datapath.own_network import OwnNetwork
from socklb.datapath.pins import Pins
from socklb.datapath.sizes import Sizes, promised
from socklb.datapath.tables import Tables
from socklb.errors import SocklbError

OBJECTS = Path(__file__).parent  # the wheel carries them here
OBJECT_FILES = tuple(features.OBJECTS)

log = logging.getLogger(__name__)


class NodeDatapath:
    """Load, read back, write, attach. Closing leaves everything that is pinned at work.

    with NodeDatapath(bpffs, cgroup, objects) as datapath:
        datapath.tables.apply(…)
        datapath.attach()
    """

    def __init__(
        self,
        bpffs: Path,
        cgroup: Path,
        objects: Path = OBJECTS,
        sizes: Sizes = Sizes(),  # noqa: B008
        run: Path | None = None,
        *,
        packets: bool = False,
        pod_sockets: bool = True,
    ) -> None:
        """Become the node's only writer, create or take over the maps, and read back what they hold.

        packets: whether Service addresses that a hook lets pass are served on the packet, so that a hook may leave to
            it what it could only serve under a wrong name.
        pod_sockets: whether hooks serve sockets outside this process' network, the node's own.

        Raises:
            SocklbError: another agent serves the node, the file system is not bpffs, or an object is missing.
            BpfError: the kernel refused the programs or the maps.
        """
        mounts.check_bpffs(bpffs, mounts.read_mounts())
        self.cgroup = cgroup
        self.pins = Pins(bpffs, run)
        with ExitStack() as opened:
            self.pins.make()
            self.pins.lock()
            opened.callback(self.pins.unlock)
            self.missing = features.missing()
            self.object_file = features.object_for(self.missing)
            growth.settle(self.pins.maps)
            self._network = opened.enter_context(closing(OwnNetwork()))
            facts = kernel.read()._replace(
                packets=int(packets), leave_pods=int(not pod_sockets), asking=self._network.asking
            )
            self._object, self.sizes = _load(objects, self.object_file, self.pins, sizes, facts.packed)
            self.larger_than_asked = _larger(self.sizes, sizes)
            if self.larger_than_asked:
                log.info("%s", self.larger_than_asked)
            opened.callback(self._object.close)
            self.keeper = Keeper(self._object, cgroup, self.pins)
            opened.callback(self.keeper.close)
            self.tables = Tables(self.pins.maps)
            opened.callback(self.tables.close)
            self._this_node = opened.enter_context(closing(RowTable(self.pins.maps, "this_node", layout.NODE.size)))
            self.netns = self._network.cookie or self._this_node.word(0, 0)  # an earlier agent may know
            self._this_node.publish(0, 0, self.netns)
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
        self.pins.retire_older()
        if self._network.asking:
            self._network.tell_hooks()
            self.netns = self._this_node.word(0, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()


def _pinned_sizes(maps: Path, wanted: Sizes) -> Sizes:
    """Give the sizes of the tables that are pinned, and of the others the wanted ones."""
    found = wanted.by_table()
    for name in found:
        if (maps / name).exists():
            descriptor = libbpf.get_pinned(maps / name)
            found[name] = int(map_info(descriptor, name).max_entries)
            os.close(descriptor)
    return Sizes(found["frontends"], promised(found["backends"]))


def _larger(found: Sizes, wanted: Sizes) -> str:
    """Say which tables are larger than is wanted; empty if none is. To make them smaller would be an outage."""
    parts = zip(found._fields, found, wanted, strict=True)
    kept = [f"max_{name} = {asked} and the tables have room for {has}" for name, has, asked in parts if has > asked]
    return f"the configuration says {', '.join(kept)}: they keep that until 'socklb cleanup'" if kept else ""


def _load(directory: Path, name: str, pins: Pins, sizes: Sizes, constants: bytes) -> tuple[libbpf.Object, Sizes]:
    """Load an object with the tables that are pinned, larger ones if they are wanted, or new ones.

    New ones are made where those that are pinned cannot be taken over.
    """
    path = directory / name
    if not path.is_file():
        raise SocklbError("no such eBPF object", value=path, hint="in a checkout: make build")
    obj = libbpf.Object.open(path)
    try:
        taken = _pinned_sizes(pins.maps, sizes)
        obj.resize_maps(taken.by_table())
        if not _misfit(obj, pins.maps) and (larger := taken.at_least(sizes)) != taken:
            try:
                grown = _grown(path, pins.maps, larger, constants)
            except libbpf.BpfError as error:
                log.warning("the tables cannot grow to %s, so they keep %s: %s", larger, taken, error)
            else:
                obj.close()
                return grown, larger
        if misfit := _misfit(obj, pins.maps):
            log.warning("new tables: %s; those of before are kept at %s until new ones serve", misfit, pins.set_aside())
            taken = sizes
            obj.resize_maps(taken.by_table())
        obj.pin_maps(pins.maps, layout.MAPS)
        obj.set_constants(constants)
        obj.load()
    except BaseException:
        obj.close()
        raise
    return obj, taken


def _grown(path: Path, maps: Path, sizes: Sizes, constants: bytes) -> libbpf.Object:
    """Load an object with larger tables that hold what the pinned ones do, and pin them in their place."""
    growing = growth.place(maps)
    obj = libbpf.Object.open(path)
    try:
        growth.share(maps, growing)
        obj.resize_maps(sizes.by_table())
        obj.pin_maps(growing, layout.MAPS)
        obj.set_constants(constants)
        obj.load()
        growth.copy(maps, growing)
    except BaseException:
        obj.close()
        growth.settle(maps)
        raise
    growth.exchange(maps, growing)
    log.info("the tables have grown: room for %d frontends and %d backends", *sizes)
    return obj


def _misfit(obj: libbpf.Object, maps: Path) -> str:
    """Say which pinned table is not as this object needs it; empty if all are."""
    for name in layout.MAPS:
        wanted = obj.shape(name)
        if wanted and (maps / name).exists() and (found := pinned_shape(maps / name)) != wanted:
            parts = zip(wanted._fields, found, wanted, strict=True)
            return f"table {name} has " + ", ".join(
                f"{part} {had} and this version {has}" for part, had, has in parts if had != has
            )
    return ""
