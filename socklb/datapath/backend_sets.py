"""Backend sets: equal sets are stored once, however many frontends use them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby

from socklb.datapath import barrier, layout
from socklb.datapath.allocator import RangeAllocator
from socklb.datapath.connection_counts import Loads, split
from socklb.datapath.maps import RowTable
from socklb.datapath.sizes import promised
from socklb.model import Backend, Serving


@dataclass(slots=True)
class _Set:
    rows: bytes
    counted: bool
    users: int


class BackendSets:
    """Ranges of the backend table by their content. A set is identified by the word that publishes it; the empty set is
    0.

    In a counted set every backend has a number under which its connections are counted. `users` is the number of
    frontends that have backends. The table has more rows than `limit`, so that a set and its replacement can be there
    together for a moment; keeping the lasting number of backends within the limit is up to the caller (`room`).
    """

    def __init__(self, table: RowTable, loads: RowTable) -> None:
        self._table = table
        self._loads = Loads(loads)
        self._by_word: dict[int, _Set] = {}
        self._by_rows: dict[bool, dict[bytes, int]] = {False: {}, True: {}}  # plain sets, counted sets
        self._writes = 0
        self.users = 0
        self.rows = RangeAllocator(table.capacity, barrier.wait_for_readers)
        self.limit = promised(table.capacity)
        self.surplus = table.capacity - self.limit

    @property
    def room(self) -> int:
        """Return how many more backends fit; negative if sets had to be split up while the table was full."""
        return self.limit - self.rows.used

    def is_set(self, word: int) -> bool:
        """Return whether the table has the rows that a word refers to."""
        return sum(layout.unpack_set(word)) <= self._table.capacity

    def adopt(self, published: Iterable[int]) -> None:
        """Take over the sets that frontends refer to already, one word per frontend. They may share rows."""
        counted: list[bytes] = []
        for word in filter(None, published):
            if word not in self._by_word:
                base, count = layout.unpack_set(word)
                found = self._table.read(base, count)
                if numbered := any(layout.loads_of(found)):
                    counted += split(found)
                self._know(word, layout.with_loads(found, [0] * count), counted=numbered)
            self._use(word)
        self._loads.adopt(counted)
        self.rows.adopt(map(layout.unpack_set, self._by_word))

    def acquire(self, backends: tuple[Backend, ...], *, counted: bool) -> int:
        """Return the set of these backends, written if it is new, and count one more user.

        Raises:
            NoRoomError: the table has no range of that length.
        """
        if not backends:
            return 0
        rows = layout.pack_backends(backends)
        word = self._by_rows[counted].get(rows)
        if word is None:
            base = self.rows.take(len(backends))
            word = layout.pack_set(base, len(backends))
            self._table.write(base, self._loads.acquire(rows) if counted else rows)
            self._writes += len(backends)
            self._know(word, rows, counted=counted)
        return self._use(word)

    def acquire_part(self, word: int, wanted: tuple[Backend, ...]) -> int:
        """Return the longest run of a set's rows that are all wanted, and count one more user; 0 if there is no such
        row.

        It takes no new rows, because both sets share them.
        """
        known, base, kept = self._by_word[word], layout.unpack_set(word)[0], set(wanted)
        runs = [list(run) for is_kept, run in groupby(range(self.size(word)), self._among(known, kept)) if is_kept]
        if not runs:
            return 0
        run = max(runs, key=len)
        part = layout.pack_set(base + run[0], len(run))
        if part not in self._by_word:
            size = layout.BACKEND_ROW.size
            rows = known.rows[run[0] * size : (run[-1] + 1) * size]
            if known.counted:
                self._loads.acquire(rows)
            self.rows.share(base + run[0], len(run))
            self._know(part, rows, counted=known.counted)
        return self._use(part)

    def release(self, word: int) -> None:
        """Count one user less; a set without users is withdrawn."""
        if not word:
            return
        known = self._by_word[word]
        known.users -= 1
        self.users -= 1
        if not known.users:
            del self._by_word[word]
            if self._by_rows[known.counted].get(known.rows) == word:
                del self._by_rows[known.counted][known.rows]
            if known.counted:
                self._loads.release(known.rows)
            self.rows.give_back(*layout.unpack_set(word))

    def slide(self, lead: Callable[[int, int], None]) -> None:
        """Join the free rows between sets. `lead(word, to)` makes every frontend of a set use its copy."""

        def move(base: int, count: int, to: int) -> None:
            word, copy = layout.pack_set(base, count), layout.pack_set(to, count)
            known = self._by_word[copy] = self._by_word.pop(word)
            self._table.write(to, self._table.read(base, count))
            if self._by_rows[known.counted].get(known.rows) == word:
                self._by_rows[known.counted][known.rows] = copy
            lead(word, copy)

        self.rows.slide(move)

    def find(self, rows: bytes, *, counted: bool) -> int:
        """Return the set of these rows; 0 if there is none."""
        return self._by_rows[counted].get(rows, 0)

    def users_of(self, word: int) -> int:
        """Return how many frontends use a set."""
        return self._by_word[word].users

    def is_counted(self, word: int) -> bool:
        """Return whether the connections to its backends are counted."""
        return not word or self._by_word[word].counted

    def serves(self, word: int, serving: Serving) -> bool:
        """Return whether a set has all backends, counted if required."""
        return self.size(word) == len(serving.backends) and (self.is_counted(word) or not serving.least_loaded)

    def read(self, word: int) -> tuple[Backend, ...]:
        """Return the backends of a set."""
        return layout.unpack_backends(self._by_word[word].rows) if word else ()

    def take_writes(self) -> int:
        """Return how many rows were written since the last call."""
        done, self._writes = self._writes, 0
        return done

    @staticmethod
    def size(word: int) -> int:
        """Return how many backends a set has."""
        return layout.unpack_set(word)[1]

    @staticmethod
    def _among(known: _Set, wanted: set[Backend]) -> Callable[[int], bool]:
        backends = layout.unpack_backends(known.rows)
        return lambda index: backends[index] in wanted

    def _know(self, word: int, rows: bytes, *, counted: bool) -> None:
        self._by_word[word] = _Set(rows, counted, 0)
        self._by_rows[counted].setdefault(rows, word)

    def _use(self, word: int) -> int:
        self._by_word[word].users += 1
        self.users += 1
        return word
