"""Make the hooks leave out what the configuration and the labels of Pods name, and report what that is.

    bypass = Bypass(config, state, datapath, lambda: complete)
    bypass.look()           # twice a second: cgroups are created and removed
    bypass.facts            # what is left out, why, and since when
    bypass.problems

A Pod is left out as soon as a look finds its cgroup, which the kubelet makes before the containers. Until everything
has been read, what an earlier agent left out stays so. The agent itself is never left out: it tests the hooks by
connects of its own, and uses them to move sockets of others.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from socklb.api.source import Problem
from socklb.bypass.labels import Labelled, labelled
from socklb.bypass.places import Place, by_ids, matching, of_pods, place_of
from socklb.config import Config
from socklb.datapath.node_datapath import NodeDatapath
from socklb.desired.store import ObjectStore
from socklb.report import LeftOutFacts
from socklb.sockets.pods import Pods

EVERY = 0.5  # seconds
PATIENCE = 5.0  # seconds until a missing cgroup is a problem
EARLIER = "an earlier agent left it out, and not everything is read yet"

log = logging.getLogger(__name__)


class Chosen(NamedTuple):
    """A cgroup that is to be left out, its Pod, and why."""

    place: Place
    pod: str
    why: str

    def __str__(self) -> str:
        """Format as `Pod shop/web-0 (/kubepods/…): label socklb.io/bypass of the Pod`."""
        return f"Pod {self.pod} ({self.place.path}): {self.why}" if self.pod else f"{self.place.path}: {self.why}"


class Bypass:
    """See the module."""

    def __init__(
        self, config: Config, state: ObjectStore, datapath: NodeDatapath, complete: Callable[[], bool]
    ) -> None:
        """Change nothing yet. complete: returns whether everything has been read once."""
        self._patterns, self._state, self._complete = config.bypass_cgroups, state, complete
        self._cgroup, self._table = datapath.cgroup, datapath.left_out
        self._around = _around_us(self._cgroup) if config.bypass_pods or config.bypass_cgroups else frozenset[int]()
        self._pods: dict[str, Place] = {}  # by UID
        self._chosen: dict[int, Chosen] = {}
        self._missing: dict[str, tuple[str, float]] = {}  # what is missing, and since when (monotonic)
        earlier = by_ids(self._cgroup, self._table.since.keys())
        self._earlier = {id_: Chosen(place, "", EARLIER) for id_, place in earlier.items()}

    def look(self) -> None:
        """Find the cgroups that are to be left out, and leave out exactly those.

        Raises:
            BpfError: the tables cannot be read or written.
        """
        before, self._chosen = self._chosen, self._choose()
        if self._table.bring(self._chosen):
            log.warning("the table of what is left out was changed from outside: it is put back")
        for id_, chosen in self._chosen.items():
            if id_ not in before:
                log.info("left out: %s", chosen)
        for id_, chosen in before.items():
            if id_ not in self._chosen:
                log.info("no longer left out: %s", chosen)

    @property
    def facts(self) -> list[LeftOutFacts]:
        """Return what is left out."""
        since = self._table.since
        return [
            LeftOutFacts(one.place.path, one.pod, one.why, since[id_])
            for id_, one in self._chosen.items()
            if id_ in since
        ]

    @property
    def problems(self) -> list[Problem]:
        """Return what is to be left out and does not exist, and what did not fit."""
        now = time.monotonic()
        found = [Problem("", 0, "", text) for text, since in self._missing.values() if now - since >= PATIENCE]
        if waiting := self._table.waiting:
            text = f"no room to leave out {waiting} more cgroups; next: fewer patterns in bypass_cgroups"
            found.append(Problem("", 0, "", text, name="no_room_to_leave_out"))
        return found

    def _choose(self) -> dict[int, Chosen]:
        wanted = labelled(self._state.pods.values(), self._state.namespaces)
        self._find_pods(wanted)
        named = {pattern: list(matching(self._cgroup, pattern)) for pattern in self._patterns}
        now, missing = time.monotonic(), dict(self._lacking(wanted, named))
        self._missing = {what: self._missing.get(what, (text, now)) for what, text in missing.items()}
        chosen = {
            place.id: Chosen(place, "", f"bypass_cgroups {pattern}")
            for pattern, places in named.items()
            for place in places
        }
        chosen |= {place.id: Chosen(place, wanted[uid].pod, wanted[uid].why) for uid, place in self._pods.items()}
        if not self._complete():
            chosen = self._still_there() | chosen
        return {id_: one for id_, one in chosen.items() if id_ not in self._around}

    def _find_pods(self, wanted: Mapping[str, Labelled]) -> None:
        """Look where they were, and through all cgroups for those that were not found."""
        there = {uid: place for uid, place in self._pods.items() if place_of(self._cgroup, place.path) == place}
        self._pods = {uid: place for uid, place in there.items() if uid in wanted}
        if lacking := wanted.keys() - self._pods.keys():
            self._pods |= of_pods(self._cgroup, lacking)

    def _lacking(self, wanted: Mapping[str, Labelled], named: Mapping[str, list[Place]]) -> Iterator[tuple[str, str]]:
        for pattern, places in named.items():
            if not places:
                yield pattern, f"no cgroup below {self._cgroup} is named {pattern}, as `bypass_cgroups` says"
            for place in places:
                if place.id in self._around:
                    yield place.path, f"{place.path} is not left out, for the agent itself is in it: {pattern}"
        for uid, one in wanted.items():
            if one.runs and uid not in self._pods:
                yield uid, f"Pod {one.pod} is to be left out, and no cgroup below {self._cgroup} has its UID, {uid}"

    def _still_there(self) -> dict[int, Chosen]:
        return {id_: one for id_, one in self._earlier.items() if place_of(self._cgroup, one.place.path) == one.place}


def _around_us(node: Path) -> frozenset[int]:
    """Return the cgroups below the node's that contain this process; in a cgroup namespace /proc does not tell."""
    pods = Pods(node)
    own = pods.holding(os.getpid())
    return frozenset(id_ for id_, _ in pods.above(own)) if own else frozenset()
