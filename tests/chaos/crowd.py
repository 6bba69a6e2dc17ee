"""All clients of a walk, each a process of its own, and what they saw, read as they write it.

with Crowd(rig, seed) as crowd:
    for event in crowd.news(): …
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.chaos.history import Event
from tests.chaos.rig import ROOT, Rig
from tests.packets.network import NODE, NODE6


class Client(NamedTuple):
    kind: str
    way: str  # what translates for it
    place: str
    rate: float = 40.0  # asks a second at most


CLIENTS = (
    Client("tcp", "socket", "c", 80),
    Client("tcp", "socket", "node"),
    Client("tcp", "packet", "d"),
    Client("tcp", "packet", "client"),
    Client("tcp", "packet", "node", 20),
    Client("udp", "socket", "c"),
    Client("udp", "packet", "d"),
    Client("udp", "packet", "client"),
    Client("udp-unconnected", "socket", "c"),
    Client("udp-unconnected", "socket", "node"),
    Client("udp-kept", "socket", "c"),
    Client("mptcp", "socket", "c"),
    Client("dig", "socket", "c", 2),
    Client("stream", "socket", "c"),
    Client("stream", "packet", "d"),
    Client("stream", "packet", "client"),
)


class Crowd:
    """See the module."""

    may_end: frozenset[int | None] = frozenset({None, -15})  # how clients may have ended, if at all

    def __init__(self, rig: Rig, seed: int, clients: tuple[Client, ...] = CLIENTS) -> None:
        self._rig, self._seed = rig, seed
        self.files: dict[Client, Path] = {
            client: rig.home / f"client-{'-'.join(map(str, client[:-1]))}.jsonl" for client in clients
        }
        self._read = dict.fromkeys(clients, 0)
        self.last: dict[Client, Event] = {}
        self._running: dict[Client, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        for client, path in self.files.items():
            around = self._rig.around(client.place, hooked=client.way == "socket")
            words = ("-m", "tests.chaos.client", *map(str, (*client[:3], self._seed, client.rate, NODE, NODE6)))
            with path.open("wb") as out, path.with_suffix(".err").open("wb") as err:
                argv, environment = [*around, sys.executable, *words], {**os.environ, "PYTHONPATH": str(ROOT)}
                self._running[client] = subprocess.Popen(argv, stdout=out, stderr=err, cwd=ROOT, env=environment)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running.values():
            process.terminate()
            process.wait(20)

    def news(self) -> Iterator[Event]:
        """Yield what was seen since the last time."""
        for client, path in self.files.items():
            if (process := self._running[client]).poll() not in self.may_end:
                said = path.with_suffix(".err").read_text()
                raise RuntimeError(f"{client} ended with {process.returncode}: {said}")
            with path.open("rb") as file:
                file.seek(self._read[client])
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._read[client] += len(whole)
            for line in whole.splitlines():
                self.last[client] = event = self.placed(client, Event(*json.loads(line)))
                yield event

    def placed(self, client: Client, event: Event) -> Event:
        """Return what a client wrote, with the place by which it is judged."""
        return event

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._running.values()]
