"""Give back what sockets were given that ended while no release hook ran: their slots, and their counts of loads.

    ended = Ended(maps, cgroup, datapath.end_socket)
    supervisor.every("ended sockets", EVERY, lambda: ended.look(hooks.put_back))

It costs nothing as long as hooks stay where they are. Once they were put back (or an agent starts: it does not know
what was before), each socket that has a slot is suspected: it ended unseen, or it lives and its release will be seen.
One that no network namespace lists and no process has open, in two looks one after the other, has ended. One whose own
cgroup is gone, and with it its hooks, is watched until it ends.

Only the program `end_socket` writes to the tables, so a release at the same moment is counted once. Where processes are
out of sight, nobody knows who lives, and nothing is given back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from socklb.sockets.descriptors import cookies, holders
from socklb.sockets.listing import live_sockets
from socklb.sockets.networks import networks
from socklb.sockets.pods import below
from socklb.sockets.records import Records

EVERY = 1.0  # seconds
FIRST, LONGEST = 3.0, 60.0  # seconds between two looks at suspects
AT_ONCE = 1000  # slots, some milliseconds

log = logging.getLogger(__name__)


class OutOfSightError(Exception):
    """Some processes cannot be asked which sockets they have open."""


class Ended:
    """See the module. `end` gives back the slot of a cookie, and returns whether it had one."""

    def __init__(self, maps: Path, cgroup: Path, end: Callable[[int], bool]) -> None:
        self._maps, self._cgroup, self._end = maps, cgroup, end
        self._seen = 0
        self._suspects, self._absent = set[int](), set[int]()
        self._pause = self._due = 0.0

    async def look(self, put_back: int) -> None:
        """Look at the suspects if there are any and it is time. `put_back`: how often hooks were put back."""
        if put_back != self._seen:
            self._suspects |= await asyncio.to_thread(self._with_slots)
            self._seen, self._due, self._pause = put_back, 0.0, FIRST
        if not self._suspects or time.monotonic() < self._due:
            return
        try:
            absent = await asyncio.to_thread(self._look)
        except OutOfSightError as error:
            log.warning("slots of sockets that ended without hooks cannot be given back: %s", error)
            self._suspects, self._absent = set[int](), set[int]()
            return
        ended, self._absent = absent & self._absent, absent - self._absent
        self._suspects -= ended
        if count := await self._give_back(sorted(ended)):
            log.info("slots of sockets that ended without hooks given back: %d", count)
        self._due = time.monotonic() + self._pause
        self._pause = min(LONGEST, 2 * self._pause)

    def _with_slots(self) -> set[int]:
        with closing(Records(self._maps)) as records:
            return records.cookies()

    async def _give_back(self, ended: list[int]) -> int:
        count = 0
        for number, cookie in enumerate(ended, 1):
            count += self._end(cookie)
            if not number % AT_ONCE:
                await asyncio.sleep(0)
        return count

    def _look(self) -> set[int]:
        """Forget the suspects whose release was or will be seen; return those of the others that are nowhere."""
        with closing(Records(self._maps)) as records:
            suspects = self._suspects & records.cookies()
            listed = live_sockets(records, networks()) if suspects else {}
        absent = suspects - listed.keys()
        if absent:
            absent -= self._open({live.inode for live in listed.values()})
        here = {number for number, _ in below(self._cgroup, "/")}
        beyond = {cookie for cookie in suspects & listed.keys() if listed[cookie].cgroup not in here}
        self._suspects = absent | beyond
        return absent

    def _open(self, listed: set[int]) -> set[int]:
        """Return the cookies of all sockets that processes have open and that are not listed.

        Raises:
            OutOfSightError: not all can be asked.
        """
        denied = [f"a process in {folder} is in a pid namespace beside ours" for folder in _out_of_sight(self._cgroup)]
        open_now = holders(denied)
        found = set(cookies((who for inode, who in open_now.items() if inode not in listed), denied))
        if denied:
            raise OutOfSightError(f"{denied[0]}, and {len(denied) - 1} more" if len(denied) > 1 else denied[0])
        return found


def _out_of_sight(cgroup: Path) -> Iterator[Path]:
    """Yield the cgroups, at and below one, with processes that we do not see: the kernel lists them as 0."""
    for processes in cgroup.rglob("cgroup.procs"):
        with suppress(OSError):  # it was removed, or is threaded
            if "0" in processes.read_text().split():
                yield processes.parent
