"""Changes endpoints of a cluster's Services, and hears which node's agent has applied what.

Each node has a history of its own: an answer is judged by what the node that serves the client has.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import threading
import time
from collections.abc import Iterator

from inventory.place import CommandError
from tests.chaos.churn import at_work
from tests.chaos.cluster.rig import ClusterRig
from tests.chaos.cluster.services import answer, whose
from tests.chaos.history import Event, History, Versions, Window
from tests.chaos.oracle import Oracle
from tests.chaos.services import ALL, Asked

HEAR = 1.0  # seconds between two questions for what is applied: each is a process on each node
EMPTY = 0.05  # of all versions


class ClusterChurn:
    """See the module."""

    def __init__(self, rig: ClusterRig, seed: int) -> None:
        self._rig, self._chance = rig, random.Random(f"{seed} churn")
        self._stop = threading.Event()
        self.rate = 1.0
        self.changes = 0
        windows = list[Window]()
        self.histories = {node: History({asked: Versions() for asked in ALL}, windows) for node in rig.nodes}
        self.history = next(iter(self.histories.values()))  # for what all share: windows, and what was sent
        for history in self.histories.values():
            for asked, versions in history.versions.items():
                versions.sent(0.0, frozenset(answer(pod.name, asked) for pod in rig.servers))
                versions.created(1)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[ClusterChurn]:
        """Change and hear while the block runs."""
        with at_work(self._stop, self._change_on, self._hear_on):
            yield self

    def _change_on(self) -> None:
        while not self._stop.wait(1 / self.rate if self.rate else 0.2):
            if self.rate:
                self._change(self._chance.choice(ALL))

    def _change(self, asked: Asked) -> None:
        servers = self._rig.servers
        empty = self._chance.random() < EMPTY
        pods = [] if empty else self._chance.sample(servers, self._chance.randint(1, len(servers)))
        every = [history.versions[asked] for history in self.histories.values()]
        for versions in every:
            versions.sent(time.monotonic(), frozenset(answer(pod.name, asked) for pod in pods))
        while True:
            try:
                generation = self._rig.change(asked, pods)
                break
            except (CommandError, subprocess.TimeoutExpired):  # the API is away
                if self._stop.wait(0.5):
                    return
        for versions in every:
            versions.created(generation)
        self.changes += 1

    def _hear_on(self) -> None:
        while not self._stop.wait(HEAR):
            for node in self._rig.nodes:
                self.hear(node, self._rig.status(node))

    def hear(self, node: str, status: dict[str, object] | None) -> None:
        """Note what a status says is applied."""
        now = time.monotonic()
        objects = status["applied"]["objects"] if status else {}  # type: ignore[index]
        for asked, versions in self.histories[node].versions.items():
            generation = objects.get(f"EndpointSlice/default/{asked.slice}")
            if isinstance(generation, int):
                versions.reported(generation, now)


class Oracles:
    """One for each node."""

    def __init__(self, churn: ClusterChurn) -> None:
        self._of = {node: Oracle(history, whose) for node, history in churn.histories.items()}

    def judge(self, event: Event) -> str:
        return self._of[event.place.split()[1]].judge(event)

    @property
    def connects(self) -> int:
        return sum(oracle.connects for oracle in self._of.values())

    @property
    def excused(self) -> int:
        return sum(oracle.excused for oracle in self._of.values())

    def is_right(self, event: Event) -> bool:
        return self._of[event.place.split()[1]].is_right(event)
