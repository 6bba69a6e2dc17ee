"""Backend sets: equal ones are kept once, however many frontends they serve."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from socklb.datapath import barrier, layout
from socklb.datapath.loads import Loads, split
from socklb.datapath.maps import RowTable
from socklb.datapath.rows import Rows
from socklb.datapath.sizes import promised
from socklb.serving import Backend


@dataclass(slots=True)
class _Set:
    rows: bytes
    counted: bool
    users: int


class BackendSets:
    """Ranges of the backend table by their content. A set is named by its first row; the empty one is None.

    In a counted set every backend has a number where its connections are counted. `users` is how many frontends have
    backends. The table has more rows than `limit`, so that a set and the one that it takes the place of are there
    together for a moment; how many backends there may be for good is for the caller to keep (`room`).
    """

    def __init__(self, table: RowTable, loads: RowTable) -> None:
        self._table = table
        self._loads = Loads(loads)
        self._by_base: dict[int, _Set] = {}
        self._by_rows: dict[bool, dict[bytes, int]] = {False: {}, True: {}}  # plain ones, counted ones
        self._writes = 0
        self.users = 0
        self.rows = Rows(table.capacity, barrier.wait_for_readers)
        self.limit = promised(table.capacity)
        self.surplus = table.capacity - self.limit

    @property
    def room(self) -> int:
        """How many more backends there may be; negative where sets had to be parted though the table was full."""
        return self.limit - self.rows.used

    def is_range(self, base: int, count: int) -> bool:
        """Say whether the table has such rows."""
        return base + count <= self._table.capacity

    def adopt(self, published: Iterable[tuple[int, int]]) -> None:
        """Take over the sets (base, count) that frontends lead to already, one entry a frontend."""
        counted: list[bytes] = []
        for base, count in published:
            if not count:
                continue
            if base not in self._by_base:
                found = self._table.read(base, count)
                if numbered := any(layout.loads_of(found)):
                    counted += split(found)
                rows = layout.with_loads(found, [0] * count)
                self._by_base[base] = _Set(rows, numbered, 0)
                self._by_rows[numbered].setdefault(rows, base)
            self._by_base[base].users += 1
            self.users += 1
        self._loads.adopt(counted)
        self.rows.adopt((base, self.size(base)) for base in self._by_base)

    def acquire(self, backends: tuple[Backend, ...], *, counted: bool) -> int | None:
        """Give the set of these backends, written if it is new, and count one more user.

        Raises:
            NoRoomError: the table has no range of that length.
        """
        if not backends:
            return None
        rows = layout.pack_backends(backends)
        base = self._by_rows[counted].get(rows)
        if base is None:
            base = self.rows.take(len(backends))
            self._table.write(base, self._loads.acquire(rows) if counted else rows)
            self._writes += len(backends)
            self._by_base[base] = _Set(rows, counted, 0)
            self._by_rows[counted][rows] = base
        self._by_base[base].users += 1
        self.users += 1
        return base

    def release(self, base: int | None) -> None:
        """Count one user less; a set without users is withdrawn."""
        if base is None:
            return
        known = self._by_base[base]
        known.users -= 1
        self.users -= 1
        if not known.users:
            del self._by_base[base]
            if self._by_rows[known.counted].get(known.rows) == base:
                del self._by_rows[known.counted][known.rows]
            if known.counted:
                self._loads.release(known.rows)
            self.rows.give_back(base)

    def slide(self, lead: Callable[[int, int], None]) -> None:
        """Bring together what is free between sets. `lead(base, to)` has every frontend of a set read its copy."""

        def move(base: int, to: int) -> None:
            known = self._by_base[to] = self._by_base.pop(base)
            self._table.write(to, self._table.read(base, self.size(to)))
            if self._by_rows[known.counted].get(known.rows) == base:
                self._by_rows[known.counted][known.rows] = to
            lead(base, to)

        self.rows.slide(move)

    def find(self, rows: bytes, *, counted: bool) -> int | None:
        """Give the set of these rows if there is one."""
        return self._by_rows[counted].get(rows)

    def users_of(self, base: int) -> int:
        """Give how many frontends have a set."""
        return self._by_base[base].users

    def read(self, base: int | None) -> tuple[Backend, ...]:
        """Give the backends of a set."""
        return () if base is None else layout.unpack_backends(self._by_base[base].rows)

    def word(self, base: int | None) -> int:
        """Give the word that publishes a set."""
        return 0 if base is None else layout.pack_set(base, self.size(base))

    def take_writes(self) -> int:
        """Give how many rows were written since the last call."""
        done, self._writes = self._writes, 0
        return done

    def size(self, base: int) -> int:
        """Give how many backends a set has."""
        return len(self._by_base[base].rows) // layout.BACKEND_ROW.size
