"""One peer's turn: it is started, follows changes, and is restarted, while a client in a pod of its node connects."""

from __future__ import annotations

import ipaddress
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Self

from bench.agents import address
from bench.api import ROOT, replace
from bench.peers.place import Place, words
from bench.peers.programs import Peer
from bench.peers.usage import Usage
from rig.control_plane import ControlPlane

ENDPOINTS = 4
ASKED_FIRST = 20  # Services, from the first to the last: all of them must answer
QUIET = 1.2, 1.7  # seconds between changes at an idle API: kube-proxy waits at least one between two syncs
AT_ANY_TIME = 0.0, 1.0
FEWEST, ENOUGH = 5, 75.0  # changes, whatever they take; seconds for more
START_LIMIT, CHANGE_LIMIT = 600.0, 120.0  # seconds
TRY, PATIENT = 0.05, 1.0  # seconds for a connect: where nobody translates a SYN, it is lost
FIRST_ENDPOINT = int(ipaddress.IPv4Address("10.128.0.1"))


class Services:
    """So many Services, and endpoints that none of them had before."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._made = count()

    def fresh(self) -> list[str]:
        """Return four addresses, each time others."""
        first = FIRST_ENDPOINT + next(self._made) * ENDPOINTS
        return [str(ipaddress.IPv4Address(first + i)) for i in range(ENDPOINTS)]


class Start(NamedTuple):
    """From exec to the right answer: seconds, CPU seconds, bytes, and connects of the client: failed ones, and all."""

    seconds: float
    cpu: float
    memory: float
    failed: int
    made: int


class Changes(NamedTuple):
    """Seconds of each change, to the API's answer and to the right packet; CPU and duration of all together."""

    answered: list[float]
    right: list[float]
    cpu: float
    seconds: float


class Turn:
    """See the module. Each of the two cgroups counts what one run of the peer takes."""

    def __init__(
        self, plane: ControlPlane, peer: Peer, client: Client, services: Services, cgroups: tuple[Path, Path]
    ) -> None:
        self._plane, self._peer, self._client, self._services = plane, peer, client, services
        self._now, self._next = cgroups

    def first(self) -> Start:
        """Start it where nothing is programmed; afterwards each Service is asked once."""
        number = self._services.number
        asked = [*map(address, range(0, number, max(1, number // ASKED_FIRST))), address(number - 1)]
        with Usage(self._now) as usage:
            began = time.monotonic()
            self._peer.start(self._now)
            at = self._client.ask(START_LIMIT, each=asked, limit=TRY)["at"]
            cpu, memory = usage.cpu, usage.peak
        everyone = [*map(address, range(number))]
        failed = self._client.ask(START_LIMIT, each=everyone, limit=PATIENT)["failed"]
        return Start(at - began, cpu, memory, failed, len(everyone))

    def again(self) -> Start:
        """Restart it; an endpoint of the last Service has changed while it was away."""
        last, right = self._services.number - 1, self._services.fresh()
        self._peer.stop()
        self._client.tell(until=address(last), right=right, limit=PATIENT)
        self._client.answer(CHANGE_LIMIT)
        replace(self._plane, last, right)
        self._now = self._next
        with Usage(self._now) as usage:
            began = time.monotonic()
            self._peer.start(self._now)
            found = self._client.answer(START_LIMIT)
            return Start(found["at"] - began, usage.cpu, usage.peak, found["failed"], found["made"])

    def changes(self, times: int, between: tuple[float, float]) -> Changes:
        """Give other endpoints to one Service after the other, those with even numbers; fewer if they take long."""
        answered: list[float] = []
        right: list[float] = []
        with Usage(self._now) as usage:
            cpu, since = usage.cpu, time.monotonic()
            for change in range(times):
                if change >= FEWEST and time.monotonic() - since > ENOUGH:
                    break
                time.sleep(random.uniform(*between))
                n, endpoints = change * 7919 % self._services.number & ~1, self._services.fresh()
                self._client.tell(until=address(n), right=endpoints, limit=TRY)
                self._client.answer(CHANGE_LIMIT)
                began = time.monotonic()
                replace(self._plane, n, endpoints)
                answered.append(time.monotonic() - began)
                right.append(self._client.answer(CHANGE_LIMIT)["at"] - began)
            return Changes(answered, right, usage.cpu - cpu, time.monotonic() - since)


class Client:
    """Tells client.py what to ask, and reads its answers; `log` is what the program on its node said."""

    def __init__(self, network: int, cgroup: Path, log: Callable[[], str]) -> None:
        self._log = log
        command = [*words(network, cgroup), sys.executable, "-m", "bench.peers.client"]
        self._process = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def tell(self, **what: object) -> None:
        """Tell it what to do."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def answer(self, patience: float) -> dict[str, Any]:
        """Return its next answer."""
        assert self._process.stdout is not None
        watch = threading.Timer(patience, self._process.kill)
        watch.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watch.cancel()
        if not line:
            raise TimeoutError(f"no right answer within {patience:.0f} s; the peer said: {self._log()[-2000:]}")
        return json.loads(line)

    def ask(self, patience: float, **what: object) -> dict[str, Any]:
        """Tell it what to do, and return its answer."""
        self.tell(**what)
        return self.answer(patience)


@contextmanager
def others(plane: ControlPlane, services: Services, rate: int) -> Generator[list[float]]:
    """Change slices of Services with odd numbers, at this rate; afterwards the list has the rate that was reached."""
    over, made, reached = threading.Event(), 0, list[float]()
    began = time.monotonic()

    def run() -> None:
        nonlocal made
        while not over.wait(max(0.0, began + made / rate - time.monotonic())):
            replace(plane, made * 2 % services.number | 1, services.fresh())
            made += 1

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield reached
    finally:
        over.set()
        thread.join()
    reached.append(made / (time.monotonic() - began))


@contextmanager
def servers(place: Place, cgroup: Path) -> Generator[None]:
    """Answer at every endpoint's address."""
    command = [*words(place.servers, cgroup), sys.executable, "-m", "bench.peers.server"]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            yield
        finally:
            process.kill()
