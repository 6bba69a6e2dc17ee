"""The tables by which hooks and packet path decide, read one key at a time, as the programs do.

    with closing(KernelTables(pins)) as tables:
        row = tables.frontend(frontend)

They are read while their one writer works: two lookups may see different states, as two programs may.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack, closing
from typing import NamedTuple, TypeVar

from socklb.datapath import constants, dump, layout, libbpf
from socklb.datapath.kernel import Kernel
from socklb.datapath.links import pinned_info
from socklb.datapath.maps import HashTable, PinnedMap, RowTable, TrieTable
from socklb.datapath.pins import Pins
from socklb.model import Backend, Frontend, Serving
from socklb.tc import layout as tc

Table = TypeVar("Table", bound=PinnedMap)
EXACT = 128  # bits of an address


class Row(NamedTuple):
    """A frontend's row: its number, the position of its backends, and its contents."""

    number: int
    base: int
    serving: Serving


class Last(NamedTuple):
    """The backend that a client was given last, and how many seconds ago."""

    backend: Backend
    ago: float


class KernelTables:
    """See the module."""

    def __init__(self, pins: Pins) -> None:
        """Open the pinned maps."""
        maps, self._links = pins.maps, pins.links
        self._maps = maps
        with ExitStack() as opened:

            def keep(table: Table) -> Table:
                return opened.enter_context(closing(table))

            self._frontends = keep(HashTable(maps, "frontends", layout.FRONTEND_KEY.size, layout.ROW_INDEX.size))
            self._rows = keep(RowTable(maps, "frontend_rows", layout.FRONTEND_ROW.size))
            self._backends = keep(RowTable(maps, "backends", layout.BACKEND_ROW.size))
            self._filter = keep(RowTable(maps, "address_filter", layout.FILTER_WORD.size))
            self._node = keep(RowTable(maps, "this_node", layout.NODE.size))
            self._addresses = {
                name: keep(HashTable(maps, name, 16, 1)) for name in ("service_addrs", "node_addrs", "own_addrs")
            }
            self._ranges = keep(TrieTable(maps, "source_ranges", layout.SOURCE_RANGE.size, 1))
            self._networks = keep(TrieTable(maps, "networks", layout.NETWORK.size, layout.NETWORK_FLAGS.size))
            self.packets = (pins.tc_maps / "pod_devices").exists()
            if self.packets:
                self._pod_devices = keep(HashTable(pins.tc_maps, "pod_devices", tc.IFINDEX.size, 1))
                self._ways = keep(HashTable(pins.tc_maps, "ways", tc.IFINDEX.size, 1))
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Close the maps."""
        self._opened.close()

    def frontend(self, frontend: Frontend) -> Row | None:
        """Return the row of a frontend, if the row belongs to it."""
        found = self._frontends.find(key := layout.pack_frontend(frontend))
        if found is None:
            return None
        (number,) = layout.ROW_INDEX.unpack(found)
        serving = dump.read_serving(self._rows, self._backends, number, key)
        if serving is None:
            return None
        base, _ = layout.unpack_set(self._rows.word(number, layout.SET_OFFSET))
        return Row(number, base, serving)

    def may_be_ours(self, address: bytes) -> bool:
        """Return whether the filter bit of an address is set."""
        bit = layout.filter_bit(address)
        return bool(self._filter.word(bit // 64, 0) >> bit % 64 & 1)

    def has(self, table: str, address: bytes) -> bool:
        """Return whether an address is in one of the address tables."""
        return self._addresses[table].find(address) is not None

    def left_out_since(self, cgroup: int) -> int | None:
        """Return since when (Unix time) a cgroup is left out; None: it is not."""
        with closing(HashTable(self._maps, "left_out", layout.CGROUP_ID.size, layout.SINCE.size)) as table:
            found = table.find(layout.CGROUP_ID.pack(cgroup))
        return None if found is None else int(layout.SINCE.unpack(found)[0])

    @property
    def node_network(self) -> int:
        """Return the cookie of the node's own network namespace; 0: not known."""
        return self._node.word(0, 0)

    @property
    def facts(self) -> Kernel:
        """Return the constants of the connect programs; zeros if none is pinned."""
        link = pinned_info(self._links / "connect4")
        return Kernel() if link is None else _facts_of(int(link.prog_id))

    def given_last(self, network: int, row: int) -> Last | None:
        """Return the backend that sockets of a network namespace were given last at the frontend of a row."""
        with closing(HashTable(self._maps, "affinity", layout.CLIENT.size, layout.AFFINE.size)) as affinity:
            found = affinity.find(client := layout.CLIENT.pack(network, row))
        if found is None:
            return None
        whose, seen, address, port = layout.AFFINE.unpack(found)
        if whose != client:
            return None
        return Last(Backend(address, socket.ntohs(port)), (time.monotonic_ns() - seen) / 1e9)

    def networks_of(self, address: bytes) -> int:
        """Return the flags of the networks that an address is in."""
        found = self._networks.find(layout.NETWORK.pack(EXACT, address))
        return int(layout.NETWORK_FLAGS.unpack(found)[0]) if found else 0

    def may_ask(self, row: int, client: bytes) -> bool:
        """Return whether a client is in one of the source ranges of a row."""
        bits = 8 * layout.ROW_INDEX.size + EXACT
        return self._ranges.find(layout.SOURCE_RANGE.pack(bits, row, client)) is not None

    def serves_pods_at(self, ifindex: int) -> bool:
        """Return whether packets of pods are served at a device."""
        return self.packets and self._pod_devices.find(tc.IFINDEX.pack(ifindex)) is not None

    def handed_on_at(self, ifindex: int) -> int | None:
        """Return how host routing redirects packets at a device: TO_NEIGHBOUR or INTO_POD; None: not at all."""
        found = self._ways.find(tc.IFINDEX.pack(ifindex)) if self.packets else None
        return found[0] if found else None


def _facts_of(program: int) -> Kernel:
    """Return the constants of a program."""
    descriptor = int(libbpf.call(f"open program {program}", "bpf_prog_get_fd_by_id", program))
    try:
        known = constants.read(descriptor)
    finally:
        os.close(descriptor)
    return Kernel(*layout.KERNEL_FACTS.unpack_from(known)) if known else Kernel()
