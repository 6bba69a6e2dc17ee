"""The contents of the kernel's tables, read without the agent or beside a running one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from socklb.datapath import layout
from socklb.datapath.maps import HashTable, PinnedMap, RowTable, TrieTable
from socklb.datapath.sizes import promised
from socklb.model import Frontend, Serving

TRIES = 10


class Bookkeeping(NamedTuple):
    """What happened to the records of sockets since the tables were made: see `struct bookkeeping` in bpf/types.h."""

    spilled: int
    lost: int


@dataclass(frozen=True)
class Fill:
    """How full a table is."""

    name: str
    used: int
    capacity: int


def read_frontends(directory: Path) -> dict[Frontend, Serving]:
    """Return every frontend and how it is served."""
    with ExitStack() as opened:
        frontends = opened.enter_context(closing(_frontends(directory)))
        rows = opened.enter_context(closing(RowTable(directory, "frontend_rows", layout.FRONTEND_ROW.size)))
        backends = opened.enter_context(closing(RowTable(directory, "backends", layout.BACKEND_ROW.size)))
        found: dict[Frontend, Serving] = {}
        for key, value in frontends.items():
            (row,) = layout.ROW_INDEX.unpack(value)
            serving = read_serving(rows, backends, row, key)
            if serving is not None and not serving.lent:
                found[layout.unpack_frontend(key)] = serving
        return found


def read_serving(rows: RowTable, backends: RowTable, row: int, key: bytes) -> Serving | None:
    """Return a row and its set if they did not change meanwhile; None if the row is free or belongs to another
    frontend.
    """
    if row >= rows.capacity:
        return None
    for _ in range(TRIES):
        before = rows.read(row)
        row_key, word, options = layout.FRONTEND_ROW.unpack(before)
        if row_key != key:
            return None
        base, count = layout.unpack_set(word)
        found = layout.unpack_backends(backends.read(base, count))
        if rows.read(row) == before:
            return layout.unpack_options(options, found)
    return None


def fill(directory: Path, frontends: Mapping[Frontend, Serving]) -> list[Fill]:
    """Return how full each table is; `frontends` is the result of `read_frontends`."""
    fills = [
        Fill("frontends", len(frontends), _capacity(_frontends(directory))),
        Fill(
            "backends",
            sum(map(len, {serving.backends for serving in frontends.values()})),
            promised(_capacity(PinnedMap(directory, "backends", 4, layout.BACKEND_ROW.size))),
        ),
    ]
    for name in ("service_addrs", "node_addrs", "own_addrs"):
        with closing(HashTable(directory, name, 16, 1)) as table:
            fills.append(Fill(name, sum(1 for _ in table.items()), table.capacity))
    for name, *sizes in (
        ("source_ranges", layout.SOURCE_RANGE.size, len(layout.PRESENT)),
        ("networks", layout.NETWORK.size, layout.NETWORK_FLAGS.size),
    ):
        with closing(TrieTable(directory, name, *sizes)) as trie:
            fills.append(Fill(name, sum(1 for _ in trie.items()), trie.capacity))
    if (directory / "left_out").exists():  # an older version does not have this table
        with closing(HashTable(directory, "left_out", layout.CGROUP_ID.size, layout.SINCE.size)) as cgroups:
            fills.append(Fill("left_out", sum(1 for _ in cgroups.items()), cgroups.capacity))
    return fills + list(sockets(directory))


def sockets(directory: Path) -> Iterator[Fill]:
    """Count the sockets that have a slot; kernels before 5.12 have no slots."""
    if (directory / "sockets").exists():
        with closing(RowTable(directory, "sockets", layout.SOCKET_SLOT.size)) as table:
            yield Fill("sockets", table.count_words(), table.capacity)


def bookkeeping(directory: Path) -> Bookkeeping:
    """Return the counters of the records."""
    with closing(RowTable(directory, "bookkeeping", layout.BOOKKEEPING.size)) as table:
        return Bookkeeping(*layout.BOOKKEEPING.unpack(table.read(0)))


def _frontends(directory: Path) -> HashTable:
    return HashTable(directory, "frontends", layout.FRONTEND_KEY.size, layout.ROW_INDEX.size)


def _capacity(table: PinnedMap) -> int:
    with closing(table):
        return table.capacity
