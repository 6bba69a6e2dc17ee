"""The allowed clients of frontends with source ranges, by row. Only the packet path reads them.

    ranges.widen(row, ("10.0.0.0/8",))     # before the row says that it is guarded
    ranges.narrow()                        # afterwards: no other clients

A range that does not fit keeps its clients out until there is room.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

from socklb.datapath import layout
from socklb.datapath.dump import Fill
from socklb.datapath.maps import TrieTable


class SourceRanges:
    """The ranges in the table, and those that wait for room."""

    def __init__(self, directory: Path) -> None:
        """Open the table; `read_back` reads its contents."""
        self._table = TrieTable(directory, "source_ranges", layout.SOURCE_RANGE.size, len(layout.PRESENT))

    def close(self) -> None:
        """Close the table; the pin keeps it."""
        self._table.close()

    @property
    def waiting(self) -> int:
        """Return how many did not fit."""
        return len(self._homeless)

    @property
    def homeless(self) -> list[bytes]:
        """Return those that did not fit."""
        return list(self._homeless)

    @property
    def fill(self) -> Fill:
        """Return how full the table is."""
        return Fill(self._table.name, sum(map(len, self._by_row.values())) - self.waiting, self._table.capacity)

    def read_back(self, guarded: Collection[int]) -> None:
        """Read the table's ranges for these rows; ranges for other rows are deleted."""
        self._by_row: defaultdict[int, set[bytes]] = defaultdict(set)
        self._surplus: set[bytes] = set()
        self._homeless: dict[bytes, None] = {}
        for key in [key for key, _ in self._table.items()]:
            if (row := layout.row_of_source_range(key)) in guarded:
                self._by_row[row].add(key)
            else:
                self._table.delete(key)

    def bring(self, keys: Iterable[bytes]) -> None:
        """Add what did not fit into the previous table, which had the same rows."""
        for key in keys:
            self._add(key)

    def widen(self, row: int, sources: Iterable[str] | None) -> None:
        """Allow clients of a row from these networks; those allowed before stay so until `narrow`."""
        if sources is None and row not in self._by_row:  # the usual case
            return
        wanted = {layout.pack_source_range(row, source) for source in sources or ()}
        self._surplus |= self._by_row[row] - wanted
        for key in wanted - self._by_row[row]:
            self._add(key)

    def narrow(self) -> None:
        """Stop allowing clients that only earlier ranges included."""
        if self._surplus:
            for key in self._surplus:
                self._by_row[layout.row_of_source_range(key)].discard(key)
            self._drop(self._surplus)
            self._surplus = set()

    def forget(self, row: int) -> None:
        """Delete all ranges of a row that is free now."""
        if row in self._by_row:
            self._drop(self._by_row.pop(row))

    def _drop(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            self._homeless.pop(key, None)
            self._table.delete(key)
        for key in list(self._homeless):
            if not self._table.put(key, layout.PRESENT):
                break
            del self._homeless[key]

    def _add(self, key: bytes) -> None:
        self._by_row[layout.row_of_source_range(key)].add(key)
        if not self._table.put(key, layout.PRESENT):
            self._homeless[key] = None
