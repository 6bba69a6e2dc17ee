"""What does not work at present, each trouble once: how often it was met, and since when.

    if troubles.note(("Service", "default/web"), problem):
        log.warning("left out: %s", problem)     # it is new, or says something else than before
    if troubles.settle(("Service", "default/web")):
        log.info("no longer a problem: …")

A log line belongs to a change of state, not to an event: that is what both answers are for. Not for several threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from socklb.api.source import Problem

Key = TypeVar("Key", bound=Hashable)


class Troubles(Generic[Key]):
    """See the module."""

    def __init__(self) -> None:
        self._standing: dict[Key, Problem] = {}

    def note(self, key: Key, problem: Problem) -> bool:
        """It was met (again). Say whether that is news; counting goes on from the same trouble's beginning."""
        now, before = time.time(), self._standing.get(key)
        times, first = (before.times + 1, before.first) if before else (1, now)
        self._standing[key] = problem._replace(times=times, first=first, last=now)
        return before is None or not problem.says_as(before)

    def settle(self, key: Key) -> Problem | None:
        """It is over. Give what it was, None if there was nothing."""
        return self._standing.pop(key, None)

    def settle_where(self, over: Callable[[Key], bool]) -> None:
        """Those that `over` says so of are over."""
        for key in [key for key in self._standing if over(key)]:
            del self._standing[key]

    def settle_before(self, moment: float) -> None:
        """Those that were not met since are over."""
        self.settle_where(lambda key: (self._standing[key].last or 0.0) < moment)

    def get(self, key: Key) -> Problem | None:
        """Return one as it stands."""
        return self._standing.get(key)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All of them, in the order of their first time."""
        return tuple(self._standing.values())
