"""The cgroups that the hooks leave out, and since when. The next check reverts what somebody else writes there.

    table = LeftOut(pins.maps)
    table.bring({id_})              # exactly these; returns whether somebody else had written there
    table.since                     # {id_: seconds since 1970}, also from an earlier agent

The kernel never reuses the id of a cgroup (since Linux 5.5), so the id of a removed cgroup does no harm.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from socklb.datapath import barrier, layout
from socklb.datapath.dump import Fill
from socklb.datapath.maps import HashTable, RowTable

FORGET_EVERY = 5.0  # seconds: the longest that a foreign row in `known_cgroups` has an effect


class LeftOut:
    """See the module."""

    def __init__(self, directory: Path) -> None:
        """Open the tables."""
        self._table = _open(directory)
        self._found = RowTable(directory, "known_cgroups", layout.KNOWN_CGROUP.size)
        self._any = self._found.capacity - 1  # the row that says whether anything is left out
        self.since = _read(self._table)
        self.waiting = 0  # how many did not fit
        self.repairs = 0  # how often somebody else had written here
        self._forgot = 0.0  # monotonic

    def close(self) -> None:
        """Close the tables; the pins keep them."""
        self._table.close()
        self._found.close()

    @property
    def fill(self) -> Fill:
        """Return how full the table is."""
        return Fill(self._table.name, len(self.since), self._table.capacity)

    def bring(self, wanted: Iterable[int]) -> bool:
        """Leave out exactly these cgroups; return whether somebody else had written here.

        Raises:
            BpfError: the kernel refused it.
        """
        there, now = _read(self._table), int(time.time())
        ids = sorted(wanted, key=lambda id_: id_ not in self.since)  # those in the table stay
        should = {id_: self.since.get(id_, now) for id_ in ids[: self._table.capacity]}
        damaged = there != self.since or self._found.word(self._any, 0) != len(there)
        self.waiting = len(ids) - len(should)
        self.repairs += damaged
        if damaged or there != should:
            self._table.delete(map(layout.CGROUP_ID.pack, there.keys() - should.keys()))
            new = (item for item in should.items() if item not in there.items())
            self._table.put([(layout.CGROUP_ID.pack(id_), layout.SINCE.pack(since)) for id_, since in new])
            self._found.publish(self._any, 0, len(should))
            barrier.wait_for_readers()  # hooks that read the old table store their finding first
            self.since = should
            self._forget()
        elif should and time.monotonic() - self._forgot >= FORGET_EVERY:  # otherwise no hook uses what was found
            self._forget()
        return damaged

    def _forget(self) -> None:
        """Make the hooks look up again for each cgroup whether it is left out."""
        self._found.write(0, bytes(self._any * self._found.value_size))
        self._forgot = time.monotonic()


def read(directory: Path) -> dict[int, int]:
    """Return the cgroups that are left out, and since when; nothing if tables of an older version are pinned."""
    if not (directory / "left_out").exists():
        return {}
    with closing(_open(directory)) as table:
        return _read(table)


def _open(directory: Path) -> HashTable:
    return HashTable(directory, "left_out", layout.CGROUP_ID.size, layout.SINCE.size)


def _read(table: HashTable) -> dict[int, int]:
    pairs = ((layout.CGROUP_ID.unpack(key), layout.SINCE.unpack(value)) for key, value in table.items())
    return {int(id_): int(since) for (id_,), (since,) in pairs}
