"""Load an object with the pinned tables: as they are, larger, or with new ones if they cannot be taken over."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from socklb.datapath import growth, layout, libbpf, unpinned
from socklb.datapath.maps import map_info, pinned_shape
from socklb.datapath.pins import Pins
from socklb.datapath.sizes import Sizes, promised
from socklb.errors import SocklbError

log = logging.getLogger(__name__)


@dataclass
class Loaded:
    """An object whose tables are pinned. `copies`: copies of tables that must catch up once its programs run."""

    object: libbpf.Object
    sizes: Sizes
    copies: list[growth.Copy] = field(default_factory=list[growth.Copy])

    def catch_up(self) -> None:
        """Take over what programs wrote to the previous tables, oldest first."""
        while self.copies:
            self.copies.pop(0).catch_up()

    def close(self) -> None:
        """Close the object; what is pinned stays."""
        for copy in self.copies:
            copy.close()
        self.object.close()


def load(path: Path, pins: Pins, sizes: Sizes, constants: bytes) -> Loaded:
    """Load an object with tables of at least these sizes.

    Raises:
        SocklbError: there is no such object.
        BpfError: the kernel refused the programs or the tables.
    """
    if not path.is_file():
        raise SocklbError("no such eBPF object", value=path, hint="in a checkout: make build")
    obj = libbpf.Object.open(path)
    try:
        unpinned.pin_again(pins.maps, filter(obj.shape, layout.MAPS), pins.links, pins.tc_links)
        found = _pinned(pins.maps, sizes)
        taken = Sizes(found["frontends"], promised(found["backends"]))
        obj.resize_maps(found)
        if not _misfit(obj, pins):
            larger = taken.at_least(sizes)
            try:
                if any(wanted > found[name] for name, wanted in larger.by_table().items()):
                    grown = grow(path, pins.maps, larger, constants)
                    obj.close()
                    return grown
            except libbpf.BpfError as error:
                log.warning("the tables cannot grow to %s, so they keep %s: %s", larger, taken, error)
        if misfit := _misfit(obj, pins):
            log.warning("new tables: %s; those of before are kept at %s until new ones serve", misfit, pins.set_aside())
            taken = sizes
            obj.resize_maps(taken.by_table())
        obj.pin_maps(pins.maps, layout.MAPS)
        obj.set_constants(constants)
        obj.load()
    except BaseException:
        obj.close()
        raise
    return Loaded(obj, taken)


def grow(path: Path, maps: Path, sizes: Sizes, constants: bytes) -> Loaded:
    """Load an object with larger tables, copy the pinned ones into them, and pin them in their place.

    Raises:
        BpfError: the kernel refused them, and nothing was changed.
    """
    growing = growth.place(maps)
    obj = libbpf.Object.open(path)
    try:
        growth.share(maps, growing)
        obj.resize_maps(sizes.by_table())
        obj.pin_maps(growing, layout.MAPS)
        obj.set_constants(constants)
        obj.load()
        copy = growth.Copy(maps, growing)
    except BaseException:
        obj.close()
        growth.settle(maps)
        raise
    growth.exchange(maps, growing)
    log.info("the tables have grown: room for %d frontends and %d backends", *sizes)
    return Loaded(obj, sizes, [copy])


def larger_than(wanted: Sizes, found: Sizes) -> str:
    """Return which tables are larger than wanted; empty if none is. Shrinking them would be an outage."""
    parts = zip(found._fields, found, wanted, strict=True)
    kept = [f"max_{name} = {asked} and the tables have room for {has}" for name, has, asked in parts if has > asked]
    return f"the configuration says {', '.join(kept)}: they keep that until 'socklb cleanup'" if kept else ""


def _pinned(maps: Path, wanted: Sizes) -> dict[str, int]:
    """Return the capacities of the pinned tables, and the wanted ones for the others."""
    found = wanted.by_table()
    for name in found:
        if (maps / name).exists():
            descriptor = libbpf.get_pinned(maps / name)
            found[name] = int(map_info(descriptor, name).max_entries)
            os.close(descriptor)
    return found


def _misfit(obj: libbpf.Object, pins: Pins) -> str:
    """Return a pinned table that does not fit this object or the others; empty if all fit."""
    maps, together = pins.maps, layout.TOGETHER_FOR_PACKETS if pins.tc_maps.is_dir() else layout.TOGETHER
    there = {name for name in layout.MAPS if (maps / name).exists()}
    if there and (gone := [name for name in together if name not in there]):
        return f"table {gone[0]} is gone"
    for name in layout.MAPS:
        wanted = obj.shape(name)
        if wanted and (maps / name).exists() and (found := pinned_shape(maps / name)) != wanted:
            parts = zip(wanted._fields, found, wanted, strict=True)
            return f"table {name} has " + ", ".join(
                f"{part} {had} and this version {has}" for part, had, has in parts if had != has
            )
    return ""
