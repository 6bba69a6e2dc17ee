"""Judges what clients saw by what the history allows. Pure.

    oracle = Oracle(history)
    oracle.judge(event)         # "" or the violation, as a sentence

What may answer is a backend of any version of the slice that may have been in the kernel while the client asked: from
the last one that was reported applied before, to the last one that was sent before the end. A fault excuses errors of
the ways that it hurts, and never an answer of somebody else.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tests.chaos.client import STREAM_LIFE
from tests.chaos.history import Event, History, Version
from tests.chaos.services import Asked, owner

MOVED_WITHIN = (
    20.0  # seconds, for machines are busy, after a removal was reported until kept UDP sockets have another backend
)
TOLD = ("ECONNABORTED", "ECONNREFUSED", "EDESTADDRREQ")  # a kept UDP socket whose backend went may be told so


class Oracle:
    """See the module. whose: which Service has a backend that gives this answer; None if it is none."""

    def __init__(self, history: History, whose: Callable[[str], Asked | None] = owner) -> None:
        self.history, self._whose = history, whose
        self.judged = self.excused = self.connects = 0
        self._by_packet: dict[tuple[str, Asked], float] = {}  # when a stream was opened that perhaps no hook saw

    def judge(self, event: Event) -> str:
        """Return the violation, or nothing."""
        self.judged += 1
        if event.kind == "stream alive":
            return self._stream(event)
        self.connects += 1
        if event.kind == "stream" and self.history.hurt(event, "socket"):
            self._by_packet[event.place, event.asked] = event.began
        whose = self._whose(event.got)
        if whose is None:
            return self._error(event)
        if whose != event.asked:
            return f"foreign: {_who(event)} was answered by {event.got}, of {whose}"
        return self._kept(event) if event.kind == "udp-kept" else self._answer(event)

    def is_right(self, event: Event) -> bool:
        """Return whether it is alive, has an answer of its own Service, or may have none because nobody served."""
        if event.got == "alive" or self._whose(event.got) == event.asked:
            return True
        return not all(version.backends for version in self._possible(event))

    def _answer(self, event: Event) -> str:
        if any(event.got in version.backends for version in self._possible(event)):
            return ""
        since = event.began - self.history.versions[event.asked].gone_since(event.got, event.began)
        when = f"{since:.3f} s before" if since > -math.inf else "by no version"
        return f"removed: {_who(event)} was answered by {event.got}, whose removal had been reported {when}"

    def _kept(self, event: Event) -> str:
        """It was given its backend at some time, and has it until the agent moves it."""
        gone = self.history.versions[event.asked].gone_since(event.got, event.began)
        if event.began - gone <= MOVED_WITHIN or self._lately_hurt(event, gone, "agent", "socket"):
            return ""
        return f"not moved: {_who(event)} still has {event.got}, which went {event.began - gone:.1f} s before"

    def _lately_hurt(self, event: Event, since: float, *what: str) -> bool:
        whole = event._replace(began=min(since, event.began) - MOVED_WITHIN)
        late = event._replace(began=event.began - MOVED_WITHIN)
        return self.history.hurt(late, *what) or self.history.hurt(whole, *what)

    def _error(self, event: Event) -> str:
        if not all(version.backends for version in self._possible(event)):
            return ""
        if event.kind == "udp-kept" and event.got in TOLD:
            return ""
        if self.history.hurt(event, *_ways(event)):
            self.excused += 1
            return ""
        took = event.ended - event.began
        return f"refused: {_who(event)} got {event.got} after {took:.3f} s, though endpoints were known"

    def _stream(self, event: Event) -> str:
        if event.got == "alive":
            return ""
        opened = self._by_packet.get((event.place, event.asked), -math.inf)
        by_packet = event.way == "packet" or event.began - opened <= STREAM_LIFE
        if self.history.hurt(event, "streams", *(["packet"] if by_packet else [])):
            self.excused += 1
            return ""
        return f"stream: {_who(event)} broke: {event.got}"

    def _possible(self, event: Event) -> list[Version]:
        return self.history.versions[event.asked].possible(event.began, event.ended)


def _ways(event: Event) -> tuple[str, ...]:
    """What translates for it: of an unconnected socket hooks do nine Services, and the packet path more."""
    return ("socket", "packet") if event.kind == "udp-unconnected" else (event.way,)


def _who(event: Event) -> str:
    return f"{event.kind} by {event.way} from {event.place} to {event.asked.slice} at {event.began:.3f}"
