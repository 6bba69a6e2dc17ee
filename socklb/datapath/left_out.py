"""Which cgroups the hooks leave out, and since when. What somebody else writes there is put back by the next look.

    table = LeftOut(pins.maps)
    table.bring({id_})              # these and no others; whether somebody else had written there
    table.since                     # {id_: seconds since 1970}, as an earlier agent left it too

The kernel gives no id of a cgroup twice (since Linux 5.5), so one of a cgroup that is gone does no harm.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from socklb.datapath import barrier, layout
from socklb.datapath.dump import Fill
from socklb.datapath.maps import HashTable, RowTable

FORGET_EVERY = 5.0  # seconds: as long as somebody else's row of what hooks found does harm


class LeftOut:
    """See the module."""

    def __init__(self, directory: Path) -> None:
        """Open the tables."""
        self._table = _open(directory)
        self._found = RowTable(directory, "known_cgroups", layout.KNOWN_CGROUP.size)
        self._any = self._found.capacity - 1  # the row that says whether anything is left out
        self.since = _read(self._table)
        self.waiting = 0  # how many found no room
        self.repairs = 0  # how often somebody else was found to have written here
        self._forgot = 0.0  # monotonic

    def close(self) -> None:
        """Close the tables; the pins keep them."""
        self._table.close()
        self._found.close()

    @property
    def fill(self) -> Fill:
        """How full the table is."""
        return Fill(self._table.name, len(self.since), self._table.capacity)

    def bring(self, wanted: Iterable[int]) -> bool:
        """Have these cgroups left out and no others; say whether somebody else had written here.

        Raises:
            BpfError: the kernel refused it.
        """
        there, now = _read(self._table), int(time.time())
        ids = sorted(wanted, key=lambda id_: id_ not in self.since)  # those that are in it stay
        should = {id_: self.since.get(id_, now) for id_ in ids[: self._table.capacity]}
        damaged = there != self.since or self._found.word(self._any, 0) != len(there)
        self.waiting = len(ids) - len(should)
        self.repairs += damaged
        if damaged or there != should:
            self._table.delete(map(layout.CGROUP_ID.pack, there.keys() - should.keys()))
            new = (item for item in should.items() if item not in there.items())
            self._table.put([(layout.CGROUP_ID.pack(id_), layout.SINCE.pack(since)) for id_, since in new])
            self._found.publish(self._any, 0, len(should))
            barrier.wait_for_readers()  # who asked the table before writes down what it found before we forget it
            self.since = should
            self._forget()
        elif should and time.monotonic() - self._forgot >= FORGET_EVERY:  # else no hook asks what was found
            self._forget()
        return damaged

    def _forget(self) -> None:
        """Have the hooks find out anew of each cgroup whether it is left out."""
        self._found.write(0, bytes(self._any * self._found.value_size))
        self._forgot = time.monotonic()


def read(directory: Path) -> dict[int, int]:
    """Return which cgroups are left out, and since when; nothing where tables of an older version are pinned."""
    if not (directory / "left_out").exists():
        return {}
    with closing(_open(directory)) as table:
        return _read(table)


def _open(directory: Path) -> HashTable:
    return HashTable(directory, "left_out", layout.CGROUP_ID.size, layout.SINCE.size)


def _read(table: HashTable) -> dict[int, int]:
    pairs = ((layout.CGROUP_ID.unpack(key), layout.SINCE.unpack(value)) for key, value in table.items())
    return {int(id_): int(since) for (id_,), (since,) in pairs}
