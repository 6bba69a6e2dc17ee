"""Changes the Services' endpoints all the time, and hears what the agent reports applied: the oracle's knowledge.

with Churn(rig, seed).at_work() as churn:
    churn.rate = 200.0          # changes a second, as far as the API server keeps up
    churn.history.versions[Asked(3, "4")].last
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import urllib3

from rig.objects import SLICES
from socklb import control_socket
from socklb.errors import SocklbError
from tests.chaos.history import History, Versions
from tests.chaos.rig import Rig
from tests.chaos.services import ALL, Asked, endpoints

HEAR = 0.05  # seconds between two questions for what is applied
EMPTY = 0.05  # of all versions
WRITERS = 4  # each changes slices of its own


@contextlib.contextmanager
def at_work(stop: threading.Event, *jobs: Callable[[], object]) -> Iterator[None]:
    """Have each job in a thread of its own while the block runs; it ends when told to stop. Raise what one raised."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        running = [pool.submit(job) for job in jobs]
        try:
            yield
        finally:
            stop.set()
    for one in running:
        one.result()


class Churn:
    """See the module."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self._rig, self._seed = rig, seed
        self._stop = threading.Event()
        self.rate = 10.0
        self.changes = 0
        self.history = History({asked: Versions() for asked in ALL})
        for asked, versions in self.history.versions.items():
            versions.sent(0.0, frozenset(asked.backends))
            versions.created(1)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[Churn]:
        """Change and hear while the block runs."""
        self._hear()
        writers = [partial(self._write, number) for number in range(WRITERS)]
        with at_work(self._stop, *writers, self._listen):
            yield self

    def _write(self, number: int) -> None:
        chance = random.Random(f"{self._seed} {number}")
        mine = ALL[number::WRITERS]
        while not self._stop.is_set():
            began = time.monotonic()
            if self.rate:
                self._change(chance.choice(mine), chance)
            pause = WRITERS / self.rate if self.rate else 0.1
            self._stop.wait(max(0.0, pause - (time.monotonic() - began)))

    def _change(self, asked: Asked, chance: random.Random) -> None:
        some = () if chance.random() < EMPTY else chance.sample(asked.backends, chance.randint(1, 4))
        versions = self.history.versions[asked]
        versions.sent(time.monotonic(), frozenset(some))
        found = self._patch(f"{SLICES}/{asked.slice}", {"endpoints": endpoints(tuple(some))})
        if found:
            versions.created(found["metadata"]["generation"])
            self.changes += 1

    def _patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Try until the API server has it; nothing if the walk ends before."""
        while True:
            try:
                return self._rig.plane.patch(path, body)
            except (RuntimeError, urllib3.exceptions.HTTPError):
                if self._stop.wait(0.5):
                    return {}

    def _listen(self) -> None:
        while not self._stop.wait(HEAR):
            self._hear()

    def _hear(self) -> None:
        try:
            applied = control_socket.ask(self._rig.agent.socket, "objects")
        except (SocklbError, OSError, ValueError):
            return
        now = time.monotonic()
        for asked, versions in self.history.versions.items():
            generation = (applied or {}).get(f"EndpointSlice/default/{asked.slice}")
            if isinstance(generation, int):
                versions.reported(generation, now)
