"""The programs of the packet path, loaded with the tables that the hooks have pinned.

    with Programs.load(objects, pins.maps, own, max_flows=1 << 17) as programs:
        links = Links(programs.by_name, pins)
        programs.sweep()

Nothing is attached here.
"""

from __future__ import annotations

import ctypes as ct
import logging
import struct
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from socklb.datapath import features, libbpf, unpinned
from socklb.datapath.layout import SERVICE_MAPS
from socklb.datapath.maps import is_pinned, pinned_shape
from socklb.errors import SocklbError
from socklb.tc import layout
from socklb.tc.places import L3

# Each for kernels with atomic compare-and-swap in programs, and for kernels without.
OBJECT_FILES = ("packets.bpf.o", "packets-5.10.bpf.o")
L3_FILES = ("packets-l3.bpf.o", "packets-l3-5.10.bpf.o")  # for devices without an Ethernet header
NAMES = ("uplink_in", "uplink_out", "pod_in", "pod_out", "routed_in")
MAX_FLOWS = 1 << 17  # 17 MB of records and 59 MB of index
SLICE = 256  # rows per run of the program `sweep`; SWEEP_SLICE in bpf/packets.bpf.c

log = logging.getLogger(__name__)


class Programs:
    """The loaded programs and their maps."""

    def __init__(self, obj: libbpf.Object, own: Path, max_flows: int, suffix: str = "") -> None:
        self._object, self._own, self._suffix = obj, own, suffix
        self.max_flows = max_flows
        self._closed = 0  # at the last sweep
        self.maps = obj.maps((*SERVICE_MAPS, *layout.MAPS))

    @classmethod
    def load(
        cls,
        objects: Path,
        shared: Path,
        own: Path,
        max_flows: int = MAX_FLOWS,
        *,
        host_routing: bool = False,
        l3: bool = False,
    ) -> Programs:
        """Load the object for this kernel. Maps pinned in either folder are taken over, others are pinned in `own`.

        max_flows: a power of two. A pinned table keeps its size, because its flows continue.
        host_routing: see the configuration. Without it the programs contain no instructions for it.
        l3: whether for devices without an Ethernet header.

        Raises:
            BpfError: the kernel refuses it.
            SocklbError: not a power of two, or only some of the shared maps are pinned.
        """
        if max_flows < 1 or max_flows & (max_flows - 1):
            raise SocklbError("max_flows is no power of two", value=str(max_flows), valid="such as 131072")
        lacks = features.COMPARE_AND_SWAP in features.missing()
        obj = libbpf.Object.open(objects / (L3_FILES if l3 else OBJECT_FILES)[lacks])
        try:
            _refuse_some(obj, shared)
            unpinned.pin_again(own, filter(obj.shape, layout.MAPS), own.parent / "links")
            _forget_others(obj, own)
            max_flows = pinned_shape(own / "flows").max_entries if (own / "flows").exists() else max_flows
            _size(obj, shared, max_flows)
            obj.resize_maps({layout.KNOWN_WAYS: layout.MAX_KNOWN_WAYS if host_routing else 1})
            obj.set_constants(layout.PACKET_FACTS.pack(max_flows - 1, host_routing))
            obj.pin_maps(shared, SERVICE_MAPS)
            obj.pin_maps(own, layout.MAPS)
            obj.load()
        except BaseException:
            obj.close()
            raise
        return cls(obj, own, max_flows, L3 if l3 else "")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the programs; what is pinned or attached stays."""
        self._object.close()

    @property
    def by_name(self) -> dict[str, libbpf.Program]:
        """Return the programs for devices, by their names in places."""
        return {name: self._object.program(name) for name in (one + self._suffix for one in NAMES)}

    @property
    def used(self) -> int:
        """Return how many rows of the table of flows a new flow cannot have.

        Those of flows that were closed at the last sweep it can.
        """
        return max(0, self._taken - self._closed)

    @property
    def _taken(self) -> int:
        counted = self.counters()
        return max(0, counted["flows_begun"] - counted["flows_ended"])

    def fd(self, name: str) -> int:
        """Return a program's descriptor; this object closes it."""
        return self._object.program(name).fd

    def pin_again(self) -> str:
        """Pin the tables of the packet path that somebody unpinned; return which, or an empty text."""
        lost = [name for name in layout.MAPS if not is_pinned(self._own / name, self.maps[name])]
        self._own.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in lost:
            (self._own / name).unlink(missing_ok=True)
            libbpf.pin(self.maps[name], self._own / name)
        return f"not pinned: {', '.join(f'table {name}' for name in lost)}" if lost else ""

    def sweep(self) -> int:
        """Free the rows of expired flows, in slices of well below a millisecond, and count the closed ones.

        Returns how many were freed.
        """
        slices = range(0, self.max_flows, SLICE) if self._taken else ()
        results = [self._run("sweep", struct.pack("=I", first)) for first in slices]
        self._closed = sum(result >> 16 for result in results)
        return sum(result & 0xFFFF for result in results)

    def reset(self, row: int, flow: layout.Flow) -> bool:
        """Answer whoever sends on a flow with a reset from now on; False: the flow has ended."""
        return bool(self._run("reset", struct.pack("=QI", flow.state, row)))

    def counters(self) -> dict[str, int]:
        """Return what happened to packets, summed over all CPUs."""
        return {name: self._count(number) for number, name in enumerate(layout.COUNTERS)}

    def _count(self, number: int) -> int:
        values = (ct.c_uint64 * possible_cpus())()
        key = ct.byref(libbpf.U32(number))
        libbpf.call("read packet_counters", "bpf_map_lookup_elem", self.maps["packet_counters"], key, values)
        return sum(values)

    def _run(self, name: str, about: bytes) -> int:
        return libbpf.run(name, self.fd(name), about)


@cache
def possible_cpus() -> int:
    """Return how many values a per-CPU map has."""
    return int(Path("/sys/devices/system/cpu/possible").read_text().strip().rpartition("-")[2].rpartition(",")[2]) + 1


def _refuse_some(obj: libbpf.Object, shared: Path) -> None:
    """Refuse to make tables anew beside others of the hooks, whose rows they would mix up."""
    names = [name for name in SERVICE_MAPS if obj.shape(name)]
    lost = [name for name in names if not (shared / name).exists()]
    if 0 < len(lost) < len(names):
        raise SocklbError(f"not pinned: table {lost[0]}", hint="the agent pins it again within seconds")


def _forget_others(obj: libbpf.Object, own: Path) -> None:
    """Unpin the tables that only the packet path uses if another version made them, or if one of those that belong
    together is gone; its flows end.
    """
    there = {name: pinned_shape(own / name) for name in layout.MAPS if (own / name).exists()}
    wanted = {name: obj.shape(name) or there[name] for name in there}
    misfits = [name for name in there if there[name]._replace(max_entries=0) != wanted[name]._replace(max_entries=0)]
    gone = [name for name in layout.TOGETHER if name not in there]
    if misfits:
        log.warning("packet path: flows end, for another version made the tables: %s", ", ".join(misfits))
    elif there and gone:
        log.warning("packet path: flows end, for a table is gone: %s", ", ".join(gone))
    else:
        return
    for name in there:
        (own / name).unlink()


def _size(obj: libbpf.Object, shared: Path, max_flows: int) -> None:
    """Give shared tables the size that they have, and tables of flows the size that is wanted."""
    pinned = {name: pinned_shape(shared / name) for name in SERVICE_MAPS if (shared / name).exists()}
    obj.resize_maps({name: shape.max_entries for name, shape in pinned.items()})
    obj.resize_maps({"flows": max_flows, "flow_index": 4 * max_flows})
