"""Larger tables in the place of those that serve, without a moment in which nobody does.

    growth.share(pins.maps, growing)     # what is about sockets is the same in both
    …                                    # an object is loaded with larger tables in `growing`
    copy = growth.Copy(pins.maps, growing)
    growth.exchange(pins.maps, growing)
    …                                    # the programs are swapped
    copy.catch_up()                      # what the old programs wrote meanwhile

The hooks go on reading the old tables until their programs are swapped, one by one; both hold the same until then. Rows
keep their numbers, so that session affinity goes on. Whatever stops it half way, `settle` leaves one whole folder; what
old programs wrote after the copy is lost then: a client's affinity, and counts are off by that moment's connections.
"""

from __future__ import annotations

import ctypes as ct
import os
import shutil
from contextlib import ExitStack, closing
from pathlib import Path

from socklb.datapath import barrier, layout, libbpf
from socklb.datapath.maps import HashTable, RowTable, TrieTable
from socklb.datapath.sizes import Sizes

AT_FDCWD = -100
RENAME_EXCHANGE = 2
HASHES = {
    "frontends": (layout.FRONTEND_KEY.size, layout.ROW_INDEX.size),
    "service_addrs": (16, 1),
    "node_addrs": (16, 1),
    "own_addrs": (16, 1),
    "affinity": (layout.CLIENT.size, layout.AFFINE.size),
}
TRIES = {
    "source_ranges": (layout.SOURCE_RANGE.size, len(layout.PRESENT)),
}
ROWS = {
    "frontend_rows": layout.FRONTEND_ROW.size,
    "backends": layout.BACKEND_ROW.size,
    "loads": layout.LOAD.size,
}


def place(maps: Path) -> Path:
    """Return the folder in which larger tables are made."""
    return maps.with_name("growing")


def settle(maps: Path) -> None:
    """Remove what an agent left that was ended half way; its new tables are whole if there are no others."""
    growing = place(maps)
    if growing.exists():
        if not any(maps.iterdir()):
            maps.rmdir()
            growing.rename(maps)
        else:
            shutil.rmtree(growing)


def share(maps: Path, growing: Path) -> None:
    """Pin all tables that do not grow in `growing` too."""
    growing.mkdir(mode=0o700)
    for name in layout.MAPS:
        if name not in Sizes().by_table() and (maps / name).exists():
            descriptor = libbpf.get_pinned(maps / name)
            try:
                libbpf.pin(descriptor, growing / name)
            finally:
                os.close(descriptor)


class Copy:
    """What tables hold, in larger ones."""

    def __init__(self, maps: Path, growing: Path) -> None:
        """Bring it there: rows first, then what leads to them."""
        with ExitStack() as opened:
            rows = {
                name: [opened.enter_context(closing(RowTable(folder, name, size))) for folder in (maps, growing)]
                for name, size in ROWS.items()
            }
            hashes = {
                name: [opened.enter_context(closing(HashTable(folder, name, *sizes))) for folder in (maps, growing)]
                for name, sizes in HASHES.items()
            }
            for before, after in rows.values():
                after.write(0, before.read(0, before.capacity))
            for table, further in hashes.values():
                further.put(list(table.items()))
            for name, sizes in TRIES.items():
                _copy_trie(
                    *(opened.enter_context(closing(TrieTable(folder, name, *sizes))) for folder in (maps, growing))
                )
            self._old_loads, self._loads = rows["loads"]
            self._old_clients, self._clients = hashes["affinity"]
            self._counted = self._loads.read(0, self._old_loads.capacity)
            self._opened = opened.pop_all()

    def catch_up(self) -> None:
        """Bring what old programs counted and remembered since. They must have been swapped; call it once.

        A count is read and written apart: a connection to the same backend in that microsecond goes uncounted.
        """
        barrier.wait_for_readers()
        now = self._old_loads.read(0, self._old_loads.capacity)
        for number in range(self._old_loads.capacity if now != self._counted else 0):
            (before,), (after,) = (layout.LOAD.unpack_from(counts, number * 8) for counts in (self._counted, now))
            if before != after:
                self._loads.publish(number, 0, self._loads.word(number, 0) + after - before & layout.U64)
        known = {client for client, _ in self._clients.items()}
        self._clients.put([(client, given) for client, given in self._old_clients.items() if client not in known])
        self.close()

    def close(self) -> None:
        """Let go of the tables."""
        self._opened.close()


def _copy_trie(table: TrieTable, further: TrieTable) -> None:
    for key, value in table.items():
        further.put(key, value)


def exchange(maps: Path, growing: Path) -> None:
    """Have the larger tables in the place of the others, and unpin those; programs that read them go on."""
    libc = ct.CDLL(None, use_errno=True)
    folders = (AT_FDCWD, os.fsencode(growing), AT_FDCWD, os.fsencode(maps), RENAME_EXCHANGE)
    if libc.renameat2(*folders):  # BPF file systems of older kernels do not exchange
        shutil.rmtree(maps)  # from here on `settle` has the new ones
        growing.rename(maps)
    else:
        shutil.rmtree(growing)
