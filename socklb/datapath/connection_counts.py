"""Numbers of backends in the table of loads, where the hooks count the connections per backend."""

from __future__ import annotations

from collections.abc import Iterable

from socklb.datapath import layout
from socklb.datapath.maps import RowTable

NOT_COUNTED = 0


class Loads:
    """Numbers for backends, each of which is a row of (address, port). A backend keeps its number while any set
    contains it.

    A number is reused only when its count is zero: sockets of the previous backend are still to be counted out. Without
    a free number, a backend is not counted and is treated as idle.
    """

    def __init__(self, table: RowTable) -> None:
        self._table = table
        self._numbers: dict[bytes, int] = {}
        self._users: dict[bytes, int] = {}
        self._fresh = NOT_COUNTED + 1  # the first number that was never used
        self._free: list[int] = []

    def adopt(self, rows: Iterable[bytes]) -> None:
        """Take over the rows of the counted sets that the tables hold already."""
        for row in rows:
            (number,) = layout.loads_of(row)
            key = row[: layout.LOAD_OFFSET]
            self._users[key] = self._users.get(key, 0) + 1
            self._numbers[key] = number
        taken = set(self._numbers.values())
        self._fresh = max(taken, default=NOT_COUNTED) + 1
        self._free = [number for number in range(NOT_COUNTED + 1, self._fresh) if number not in taken]

    def acquire(self, rows: bytes) -> bytes:
        """Return the rows with their numbers, and count one more user of each."""
        return layout.with_loads(rows, [self._acquire(row) for row in split(rows)])

    def release(self, rows: bytes) -> None:
        """Count one user less of each row."""
        for row in split(rows):
            key = row[: layout.LOAD_OFFSET]
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key]
                if number := self._numbers.pop(key):
                    self._free.insert(0, number)

    def _acquire(self, row: bytes) -> int:
        key = row[: layout.LOAD_OFFSET]
        self._users[key] = self._users.get(key, 0) + 1
        if key not in self._numbers:
            self._numbers[key] = self._idle_number()
        return self._numbers[key]

    def _idle_number(self) -> int:
        for i in range(len(self._free) - 1, -1, -1):
            if not any(self._table.read(self._free[i])):
                return self._free.pop(i)
        while self._fresh < self._table.capacity:
            self._fresh += 1
            if not any(self._table.read(self._fresh - 1)):
                return self._fresh - 1
            self._free.append(self._fresh - 1)  # from an earlier agent, and still in use
        return NOT_COUNTED


def split(rows: bytes) -> list[bytes]:
    """Return the rows one by one."""
    size = layout.BACKEND_ROW.size
    return [rows[start : start + size] for start in range(0, len(rows), size)]
