"""What does not work at present, each trouble once: how often it occurred, and since when.

    if troubles.note(("Service", "default/web"), problem):
        log.warning("left out: %s", problem)     # it is new, or differs from before
    if troubles.settle(("Service", "default/web")):
        log.info("no longer a problem: …")

A log line is written for a change of state, not for an event: the return values are for that. Not thread-safe.
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
        self._standing: dict[Key, tuple[Problem, float]] = {}  # and when it occurred last (monotonic)

    def note(self, key: Key, problem: Problem) -> bool:
        """Record that it occurred (again); return whether it is new or differs. If not, counting continues."""
        now, before = time.time(), self.get(key)
        times, first = (before.times + 1, before.first) if before else (1, now)
        self._standing[key] = problem._replace(times=times, first=first, last=now), time.monotonic()
        return before is None or not problem.says_as(before)

    def settle(self, key: Key) -> Problem | None:
        """Record that it is over; return what it was, None if there was nothing."""
        problem, _ = self._standing.pop(key, (None, 0.0))
        return problem

    def settle_where(self, over: Callable[[Key], bool]) -> None:
        """Record that all whose key satisfies `over` are over."""
        for key in [key for key in self._standing if over(key)]:
            del self._standing[key]

    def settle_older(self, seconds: float) -> None:
        """Record that all that did not occur for so long are over."""
        moment = time.monotonic() - seconds
        self.settle_where(lambda key: self._standing[key][1] < moment)

    def get(self, key: Key) -> Problem | None:
        """Return the present state of one."""
        problem, _ = self._standing.get(key, (None, 0.0))
        return problem

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Return all of them, in the order of their first occurrence."""
        return tuple(problem for problem, _ in self._standing.values())
