"""What happened in a walk: what clients saw, what the cluster said and when it was applied, which faults there were.

Moments are of CLOCK_MONOTONIC, which all processes share.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.chaos.services import Asked


class Event(NamedTuple):
    """One ask of a client: a line of tests/chaos/client.py. `got`: the address of who answered, or an error."""

    began: float
    ended: float
    kind: str
    way: str
    place: str
    number: int
    family: str
    got: str

    @property
    def asked(self) -> Asked:
        return Asked(self.number, self.family)

    @property
    def answered(self) -> bool:
        """Whether it got an answer: errors begin with a capital letter, addresses and names do not."""
        return not self.got[:1].isupper()


class Version(NamedTuple):
    """What a slice said: from when on the agent may have known of it, and by when it had reported it applied."""

    sent: float
    generation: int
    backends: frozenset[str]
    applied: float = math.inf


class Versions:
    """All versions of one slice, oldest first. Written by one thread and by the one that hears what is applied."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: list[Version] = []

    def sent(self, at: float, backends: frozenset[str]) -> None:
        """A version is about to be created: its generation is not known yet."""
        with self._lock:
            self._all.append(Version(at, 2**62, backends))

    def created(self, generation: int) -> None:
        """The API has the last one."""
        with self._lock:
            self._all[-1] = self._all[-1]._replace(generation=generation)

    def reported(self, generation: int, at: float) -> None:
        """The agent says that it has applied this generation."""
        with self._lock:
            for index in range(len(self._all) - 1, -1, -1):
                version = self._all[index]
                if version.applied < math.inf:
                    return
                if version.generation <= generation:
                    self._all[index] = version._replace(applied=at)

    def possible(self, began: float, ended: float) -> list[Version]:
        """Return those that may have been in the kernel at some moment of this time."""
        with self._lock:
            last = bisect_right(self._all, ended, key=lambda version: version.sent)
            first = max(0, bisect_right(self._all, began, key=lambda version: version.applied) - 1)
            return self._all[first:last]

    def gone_since(self, backend: str, began: float) -> float:
        """Return since when a version without this backend, and with others, was reported applied, before `began`."""
        since = math.inf
        with self._lock:
            for version in reversed(self._all):
                if version.applied <= began:
                    if backend in version.backends:
                        break
                    since = version.applied if version.backends else since
        return since

    @property
    def last(self) -> Version:
        with self._lock:
            return self._all[-1]

    @property
    def applied_generation(self) -> int:
        """The last that was reported applied."""
        with self._lock:
            return max((one.generation for one in self._all if one.applied < math.inf), default=0)


@dataclass
class Window:
    """A time in which a fault did its harm: until all was well again."""

    name: str
    hurts: frozenset[str]
    began: float
    ended: float = math.inf

    def touches(self, event: Event) -> bool:
        return event.began <= self.ended and event.ended >= self.began


@dataclass
class History:
    versions: dict[Asked, Versions]
    windows: list[Window] = field(default_factory=list)

    def hurt(self, event: Event, *what: str) -> bool:
        """Whether a fault's harm excuses this event."""
        return any(window.hurts.intersection(what) and window.touches(event) for window in reversed(self.windows[-50:]))
