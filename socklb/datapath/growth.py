"""Replace the tables with larger ones without an interruption.

    growth.share(pins.maps, growing)     # tables about sockets are the same in both folders
    …                                    # an object is loaded with larger tables in `growing`
    copy = growth.Copy(pins.maps, growing)
    growth.exchange(pins.maps, growing)
    …                                    # the programs are swapped
    copy.catch_up()                      # what the old programs wrote meanwhile

The hooks read the old tables until their programs are swapped, one by one; until then both have the same contents. Rows
keep their numbers, so session affinity is preserved. If the agent is stopped half way, `settle` leaves one complete
folder; what old programs wrote after the copy is then lost: a client's affinity, and the counts of connections opened
or closed in that moment.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, closing
from pathlib import Path

from socklb.datapath import barrier, layout, libbpf
from socklb.datapath.maps import HashTable, RowTable, TrieTable
from socklb.datapath.sizes import Sizes
from socklb.libc import libc

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
    """Remove what an interrupted agent left; if its new tables are the only ones, they are complete."""
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
    """Copies the contents of tables into larger ones."""

    def __init__(self, maps: Path, growing: Path) -> None:
        """Copy them: rows first, then what refers to them."""
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
        """Copy what old programs counted and remembered since. The programs must have been swapped; call it once.

        A count is read and written in two steps: a connection to the same backend in that microsecond is not counted.
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
        """Close the tables."""
        self._opened.close()


def _copy_trie(table: TrieTable, further: TrieTable) -> None:
    for key, value in table.items():
        further.put(key, value)


def exchange(maps: Path, growing: Path) -> None:
    """Put the larger tables in the place of the others, and unpin those; programs that read them continue to run."""
    folders = (AT_FDCWD, os.fsencode(growing), AT_FDCWD, os.fsencode(maps), RENAME_EXCHANGE)
    if libc.renameat2(*folders):  # BPF file systems of older kernels cannot exchange
        shutil.rmtree(maps)  # from here on `settle` keeps the new ones
        growing.rename(maps)
    else:
        shutil.rmtree(growing)
