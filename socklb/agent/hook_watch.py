"""Attach the hooks, keep them whole, and report when they are not.

    watch = HookWatch(datapath)
    watch.attach()          # once there is something to serve; an obstacle is a problem, and it is tried again
    watch.look()            # every few seconds

The next look repairs what was damaged from outside. Damage is reported from the moment it happens until a later look
finds everything whole: as a problem and an alarm, and as a log line for each change.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from socklb.api.source import Problem
from socklb.datapath.links import HOOKS
from socklb.datapath.node_datapath import NodeDatapath
from socklb.errors import SocklbError

EVERY = 3.0  # seconds between two looks: the next one repairs damage, and the one after it finds everything whole
OLDER_EVERY = 10.0  # seconds: counting the sockets of an older version takes 10 ms
LONGEST = 10.0  # seconds between two tries to attach while another program leaves no room

log = logging.getLogger(__name__)


class HookWatch:
    """See the module."""

    def __init__(self, datapath: NodeDatapath) -> None:
        self._datapath = datapath
        self.attached = False
        self.repairs = 0  # repairs since the start
        self.put_back = 0  # how often hooks were attached or repaired
        self._wanted = False
        self._refusal = ""  # why nothing is attached
        self._again, self._pause = 0.0, 1.0
        self._older = False  # whether hooks of an older version are still there
        self._looked_at_older = 0.0
        self._damage = ""  # as the last look found it
        self._failures: list[str] = []  # what that look could not repair
        if datapath.tables.frontends:  # an earlier agent's, to be served even while the source is unreachable
            self.attach()

    def attach(self, *, whole: bool = True) -> None:
        """Attach every hook, or none: then a problem says why, and it is tried again.

        whole: the tables hold everything that is to be served. Tables of an older version that serve are not replaced
        by less.
        """
        if not whole and self._datapath.pins.older:
            return
        self._wanted = True
        if not self.attached:
            self._try_to_attach()

    def look(self) -> None:
        """Repair damage, or try again to attach."""
        if self.attached:
            self._repair()
            self._forget_older()
        elif self._wanted and time.monotonic() >= self._again:
            self._try_to_attach()

    @property
    def alarms(self) -> dict[str, str]:
        """Return the present alarms, as read from the kernel: message by name."""
        if self._refusal:
            return {"hooks_refused": f"Services are not served to sockets: {self._refusal}"}
        damage = (_told(self._datapath.keeper.damage()) if self.attached else "") or self._damage
        if not damage:
            return {}
        failures = f"; not repaired: {'; '.join(self._failures)}" if self._failures else ""
        return {"hooks_damaged": f"the hooks were damaged from outside: {damage}{failures}"}

    @property
    def problems(self) -> list[Problem]:
        """Return the same as problems, for `socklb status`."""
        return [Problem("", 0, "", message) for message in self.alarms.values()]

    @property
    def lacking(self) -> list[str]:
        """Return the hooks whose programs the kernel does not run now, even if something else is pinned under their
        names.
        """
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
            self.put_back += 1
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
        """Repair damage. It counts as repaired when the next look finds everything whole."""
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
            self.put_back += 1


def _told(damage: Mapping[str, str]) -> str:
    """Return damage in short form: `not pinned: connect4, connect6`."""
    by_wrong: dict[str, list[str]] = {}
    for what, wrong in damage.items():
        by_wrong.setdefault(wrong, []).append(what)
    return "; ".join(f"{wrong}: {', '.join(what)}" for wrong, what in by_wrong.items())
