"""Larger tables in the place of those that serve, without a moment in which nobody does.

    growth.share(pins.maps, growing)     # what is about sockets is the same in both
    …                                    # an object is loaded with larger tables in `growing`
    growth.copy(pins.maps, growing)
    growth.exchange(pins.maps, growing)

The hooks go on reading the old tables until their programs are swapped, one by one; both hold the same until then. Rows
keep their numbers, so that session affinity goes on. Whatever stops it half way, `settle` leaves one whole folder.
"""

from __future__ import annotations

import ctypes as ct
import os
import shutil
from contextlib import ExitStack, closing
from pathlib import Path

from socklb.datapath import layout, libbpf
from socklb.datapath.maps import HashTable, RowTable
from socklb.datapath.sizes import Sizes

AT_FDCWD = -100
RENAME_EXCHANGE = 2
HASHES = {
    "frontends": (layout.FRONTEND_KEY.size, layout.ROW_INDEX.size),
    "service_addrs": (16, 1),
    "node_addrs": (16, 1),
}
ROWS = {"frontend_rows": layout.FRONTEND_ROW.size, "backends": layout.BACKEND_ROW.size}


def place(maps: Path) -> Path:
    """Give the folder in which larger tables are made."""
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


def copy(maps: Path, growing: Path) -> None:
    """Bring what the tables hold into the larger ones: rows first, then what leads to them."""
    with ExitStack() as opened:
        for name, size in ROWS.items():
            before, after = (opened.enter_context(closing(RowTable(folder, name, size))) for folder in (maps, growing))
            after.write(0, before.read(0, before.capacity))
        for name, sizes in HASHES.items():
            before, after = (
                opened.enter_context(closing(HashTable(folder, name, *sizes))) for folder in (maps, growing)
            )
            after.put(list(before.items()))


def exchange(maps: Path, growing: Path) -> None:
    """Have the larger tables in the place of the others, and unpin those; programs that read them go on."""
    libc = ct.CDLL(None, use_errno=True)
    folders = (AT_FDCWD, os.fsencode(growing), AT_FDCWD, os.fsencode(maps), RENAME_EXCHANGE)
    if libc.renameat2(*folders):  # BPF file systems of older kernels do not exchange
        shutil.rmtree(maps)  # from here on `settle` has the new ones
        growing.rename(maps)
    else:
        shutil.rmtree(growing)
