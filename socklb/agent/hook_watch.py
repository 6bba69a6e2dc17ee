"""Has the hooks attached and whole, and says so while they are not.

    watch = HookWatch(datapath)
    watch.attach()          # once there is something to serve; what stands in the way is a problem, and tried again
    watch.look()            # every few seconds

What is damaged from outside is put back by the next look, and told from the moment it is damaged until a look after
that finds everything whole: as a problem and an alarm, and as a line in the log for each change.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from socklb.api.source import Problem
from socklb.datapath.links import HOOKS
from socklb.datapath.node_datapath import NodeDatapath
from socklb.errors import SocklbError

EVERY = 3.0  # seconds between two looks: damage is put back by the next one, and seen to be whole by the one after
OLDER_EVERY = 10.0  # seconds: counting the sockets of an older version takes 10 ms
LONGEST = 10.0  # seconds between two tries to attach beside a program that leaves no room

log = logging.getLogger(__name__)


class HookWatch:
    """See the module."""

    def __init__(self, datapath: NodeDatapath) -> None:
        self._datapath = datapath
        self.attached = False
        self.repairs = 0  # things put back since the start
        self._wanted = False
        self._refusal = ""  # why nothing is attached
        self._again, self._pause = 0.0, 1.0
        self._older = False  # hooks of an older version are left
        self._looked_at_older = 0.0
        self._damage = ""  # as the last look found it
        self._failures: list[str] = []  # what that look could not repair
        if datapath.tables.frontends:  # what an earlier agent served, however long the source is out of reach
            self.attach()

    def attach(self, *, whole: bool = True) -> None:
        """Attach every hook, or none: then a problem says why, and it is tried again.

        whole: everything that is to be served is in the tables. Where tables of an older version serve, nothing less
        takes their place.
        """
        if not whole and self._datapath.pins.older:
            return
        self._wanted = True
        if not self.attached:
            self._try_to_attach()

    def look(self) -> None:
        """Put back what is damaged, or try again to attach."""
        if self.attached:
            self._repair()
            self._forget_older()
        elif self._wanted and time.monotonic() >= self._again:
            self._try_to_attach()

    @property
    def alarms(self) -> dict[str, str]:
        """What stands now, as read from the kernel: the name of an alarm, and what is to be said."""
        if self._refusal:
            return {"hooks_refused": f"Services are not served to sockets: {self._refusal}"}
        damage = (_told(self._datapath.keeper.damage()) if self.attached else "") or self._damage
        if not damage:
            return {}
        failures = f"; not repaired: {'; '.join(self._failures)}" if self._failures else ""
        return {"hooks_damaged": f"the hooks were damaged from outside: {damage}{failures}"}

    @property
    def problems(self) -> list[Problem]:
        """The same as `socklb status` shows it."""
        return [Problem("", 0, "", message) for message in self.alarms.values()]

    @property
    def lacking(self) -> list[str]:
        """The hooks by which the kernel does not run our programs now, whoever may have pinned what."""
        if not self.attached:
            return list(HOOKS)
        damage = self._datapath.keeper.damage()
        gone = any(wrong == "gone" for wrong in damage.values())  # the cgroup
        return [name for name in HOOKS if gone or damage.get(name, "not pinned") != "not pinned"]

    def _try_to_attach(self) -> None:
        try:
            self._datapath.attach()
        except (SocklbError, OSError) as error:
            self._refuse(str(error))
        else:
            if self._refusal:
                log.info("the hooks are attached now")
            self.attached, self._refusal = True, ""
            self._older = bool(self._datapath.pins.older)
            if self._older:
                log.info("sockets of an older version keep its hooks until they are closed")

    def _forget_older(self) -> None:
        if self._older and time.monotonic() - self._looked_at_older >= OLDER_EVERY:
            self._looked_at_older = time.monotonic()
            self._older = self._datapath.pins.forget_older()
            if not self._older:
                log.info("the last socket of an older version is closed: its hooks are removed")

    def _refuse(self, why: str) -> None:
        if why != self._refusal:
            log.error("the hooks are not attached: %s", why)
        self._refusal = why
        self._again = time.monotonic() + self._pause
        self._pause = min(LONGEST, 2 * self._pause)

    def _repair(self) -> None:
        """Put back what is damaged. It counts as whole when the next look finds it so."""
        before = self._datapath.keeper.damage()
        told = _told(before)
        if told and told != self._damage:
            log.warning("the hooks were damaged from outside: %s; they are put back", told)
        elif self._damage and not told:
            log.info("the hooks are whole again")
        self._damage = told
        failures = self._datapath.keeper.repair() if before else []
        if failures and failures != self._failures:
            log.error("the hooks could not be repaired: %s", "; ".join(failures))
        self._failures = failures
        if before:
            self.repairs += len(before.keys() - self._datapath.keeper.damage().keys())


def _told(damage: Mapping[str, str]) -> str:
    """Say it shortly: `not pinned: connect4, connect6`."""
    by_wrong: dict[str, list[str]] = {}
    for what, wrong in damage.items():
        by_wrong.setdefault(wrong, []).append(what)
    return "; ".join(f"{wrong}: {', '.join(what)}" for wrong, what in by_wrong.items())
