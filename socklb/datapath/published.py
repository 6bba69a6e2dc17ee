"""The frontends that the kernel knows: a hash element refers to a row, and the row says how the frontend is served.

    frontends = PublishedFrontends(directory, bits)
    damaged = frontends.read_back(sets.is_set)
    frontends.make_known([(frontend, Published(-1, options, word))])

A row is written before its element, and is reused for another frontend only when no reader can still hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from socklb.datapath import barrier, layout
from socklb.datapath.address_filter import AddressFilter
from socklb.datapath.allocator import RangeAllocator
from socklb.datapath.maps import HashTable, RowTable
from socklb.datapath.source_ranges import SourceRanges
from socklb.model import Frontend

LENT, GUARDED = layout.LENT << 32, layout.GUARDED << 32  # in the word of options


@dataclass(slots=True)
class Published:
    """The contents of a frontend's row."""

    row: int
    options: int
    word: int  # of its set; 0: no backends
    sources: tuple[str, ...] | None = None  # allowed clients, if written and not read back; None: all

    @property
    def lent(self) -> bool:
        """Return whether it belongs to no Service."""
        return bool(self.options & LENT)


class PublishedFrontends:
    """See the module. `known` has all frontends; `lent` counts those of no Service, `outside` has the second rows."""

    def __init__(self, directory: Path, bits: AddressFilter) -> None:
        """Open the tables; `read_back` reads their contents."""
        self._elements = HashTable(directory, "frontends", layout.FRONTEND_KEY.size, layout.ROW_INDEX.size)
        self._table = RowTable(directory, "frontend_rows", layout.FRONTEND_ROW.size)
        self.ranges = SourceRanges(directory)
        self._filter = bits
        self.capacity = self._elements.capacity

    def close(self) -> None:
        """Close the tables; the pins keep them."""
        self._elements.close()
        self._table.close()
        self.ranges.close()

    @property
    def room(self) -> int:
        """Return how many more fit."""
        return self._rows.capacity - self._rows.used

    def read_back(self, is_set: Callable[[int], bool]) -> int:
        """Read what the tables hold. Rows that no element refers to are free.

        An element that refers to a row beyond the table, to another frontend's row or to an invalid set was written by
        somebody else, and is deleted. Returns how many were deleted. The caller adopts the filter's bits.
        """
        self.known: dict[Frontend, Published] = {}
        self._rows = RangeAllocator(self._table.capacity, barrier.wait_for_readers)
        damaged: list[bytes] = []
        for key, value in self._elements.items():
            (row,) = layout.ROW_INDEX.unpack(value)
            row_key, word, options = self._read(row)
            frontend = layout.unpack_frontend(key)
            if row_key != key or layout.pack_frontend(frontend) != key or not is_set(word):
                damaged.append(key)
                continue
            self.known[frontend] = Published(row, options, word if layout.unpack_set(word)[1] else 0)
        taken = {published.row for published in self.known.values()}
        for row, word in enumerate(self._table.column(layout.KEY_OFFSET)):
            if word and row not in taken:
                self._withdraw(row)
        self._rows.adopt((row, 1) for row in taken)
        self.lent = sum(published.lent for published in self.known.values())
        self.outside = {frontend: published for frontend, published in self.known.items() if frontend.scope}
        if damaged:
            self._elements.delete(damaged)
            barrier.wait_for_readers()  # of rows that are free now
        self.ranges.read_back({published.row for published in self.known.values() if published.options & GUARDED})
        return len(damaged)

    def make_known(self, new: Sequence[tuple[Frontend, Published]]) -> int:
        """Write rows, then elements; return how many were added, in order. Somebody else took the room of the rest."""
        items: list[tuple[bytes, bytes]] = []
        for frontend, published in new:
            published.row, key = self._rows.take(1), layout.pack_frontend(frontend)
            self._table.write(published.row, layout.FRONTEND_ROW.pack(key, published.word, published.options))
            self.ranges.widen(published.row, published.sources)
            self._filter.add(frontend.address)
            items.append((key, layout.ROW_INDEX.pack(published.row)))
        barrier.order_stores()
        done = self._elements.put(items)
        self.known.update(new[:done])
        self.lent += sum(published.lent for _, published in new[:done])
        self.outside.update((frontend, published) for frontend, published in new[:done] if frontend.scope)
        for frontend, published in new[done:]:
            self._give_back(frontend, published)
        return done

    def publish_options(self, published: Published, options: int) -> None:
        """Change the options of a frontend, by one store."""
        self._table.publish(published.row, layout.OPTIONS_OFFSET, options)
        published.options = options

    def publish_set(self, published: Published, word: int) -> None:
        """Change the set of a frontend, by one store."""
        self._table.publish(published.row, layout.SET_OFFSET, word)
        published.word = word

    def forget(self, frontends: Iterable[Frontend]) -> list[Published]:
        """Delete the elements of known frontends; return the contents of their rows."""
        gone = list(frontends)
        if gone:
            self._elements.delete(map(layout.pack_frontend, gone))
        found = [self.known.pop(frontend) for frontend in gone]
        for frontend, published in zip(gone, found, strict=True):
            self.lent -= published.lent
            self.outside.pop(frontend, None)
            self._give_back(frontend, published)
        return found

    def _withdraw(self, row: int) -> None:
        """Mark a row without an element as free, because flows of the packet path remember it."""
        self._table.publish(row, layout.KEY_OFFSET, 0)

    def _give_back(self, frontend: Frontend, published: Published) -> None:
        self._withdraw(published.row)
        self.ranges.forget(published.row)
        self._rows.give_back(published.row, 1)
        self._filter.remove(frontend.address)

    def _read(self, row: int) -> tuple[bytes, int, int]:
        found = self._table.read(row) if row < self._table.capacity else bytes(layout.FRONTEND_ROW.size)
        key, word, options = layout.FRONTEND_ROW.unpack(found)
        return key, word, options
