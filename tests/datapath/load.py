"""Clients that connect as fast as they can until they are told to stop, and remember what they saw."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rig.sandbox import Sandbox

LIMIT = 60.0  # seconds; a load ends by itself


class Seen(NamedTuple):
    """A connect: when it began and ended (time.monotonic()), and who answered."""

    began: float
    ended: float
    backend: str


@dataclass
class Load:
    """What all clients saw, and their errors."""

    seen: list[Seen] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def connects(self) -> int:
        return len(self.seen)

    @property
    def backends(self) -> set[str]:
        return {seen.backend for seen in self.seen}

    def backends_after(self, moment: float) -> set[str]:
        """Return the backends of connects that began after a moment of time.monotonic()."""
        return {seen.backend for seen in self.seen if seen.began > moment}


@dataclass
class Running:
    result: Load = field(default_factory=Load)

    def now(self) -> float:
        """Return this moment."""
        return time.monotonic()

    def mark(self) -> float:
        """Return this moment, and let the load go on for a while after it."""
        moment = time.monotonic()
        time.sleep(0.3)
        return moment


@contextlib.contextmanager
def load(sandbox: Sandbox, address: str, clients: int) -> Iterator[Running]:
    """Keep `clients` processes connecting to `address`:80 while the block runs."""
    stop = Path(f"/tmp/{sandbox.name}.stop")

    def connect_until_stopped() -> Load:
        seen = Load()
        end = time.monotonic() + LIMIT
        while not stop.exists() and time.monotonic() < end:
            began = time.monotonic()
            try:
                with socket.create_connection((address, 80), 5) as client:
                    ended = time.monotonic()
                    peer = client.getpeername()[0]
                    seen.seen.append(Seen(began, ended, client.recv(100).decode()))
                    if peer != address:
                        seen.failed.append(f"getpeername {peer}")
            except OSError as error:
                seen.failed.append(repr(error))
            time.sleep(0.001)
        return seen

    jobs = [sandbox.start(connect_until_stopped) for _ in range(clients)]
    running = Running()
    time.sleep(0.3)
    try:
        yield running
    finally:
        stop.touch()
        results = [job.result() for job in jobs]
        stop.unlink()
    for result in results:
        assert isinstance(result, Load)
        running.result.seen += result.seen
        running.result.failed += result.failed
