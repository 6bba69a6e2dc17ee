"""What must not grow: pins, threads, descriptors and memory of the agent, slots of sockets.

before = Footprint.of(rig)          # once all is well
…
before.leaks(Footprint.of(rig))     # sentences
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression
from typing import NamedTuple

from tests.chaos.rig import Rig

# Python's pool of threads has as many as were ever needed at once, and each thread of it may hold some descriptors.
THREADS, DESCRIPTORS = 8, 16
LONG_LIFE, SETTLED = 600.0, 240.0  # seconds: each kind of fault makes the heap as large as it needs once
STEEP = 1.0  # MB a minute


class Footprint(NamedTuple):
    pins: Counter[str]  # without the numbers of devices, which may be made anew
    threads: int
    descriptors: int

    @classmethod
    def of(cls, rig: Rig) -> Footprint:
        process = Path(f"/proc/{rig.pid}")
        there = (str(pin.relative_to(rig.agent.bpffs)) for pin in rig.agent.bpffs.rglob("*"))
        pins = Counter(re.sub(r"-\d+$", "", pin) for pin in there)
        return cls(pins, len(list((process / "task").iterdir())), len(list((process / "fd").iterdir())))

    def leaks(self, now: Footprint) -> list[str]:
        """Return what is there now and was not."""
        more, less = now.pins - self.pins, self.pins - now.pins
        found = [f"leak: pins {more} are there now, {less} were before"] * (now.pins != self.pins)
        if now.threads > self.threads + THREADS:
            found.append(f"leak: {now.threads} threads, {self.threads} before")
        if now.descriptors > self.descriptors + DESCRIPTORS:
            found.append(f"leak: {now.descriptors} descriptors, {self.descriptors} before")
        return found


def slots(rig: Rig) -> int | None:
    """Return how many slots of sockets are taken; None where no agent answers."""
    status = rig.status()
    return next((table["used"] for table in status["maps"] if table["name"] == "sockets"), 0) if status else None


@dataclass
class Memory:
    """The agent's own memory over time, by process: what it has mapped of files comes and goes as others need room."""

    samples: dict[int, list[tuple[float, float]]] = field(default_factory=dict[int, list[tuple[float, float]]])

    def look(self, rig: Rig, at: float) -> None:
        try:
            resident, of_files = map(int, Path(f"/proc/{rig.pid}/statm").read_text().split()[1:3])
        except (OSError, ValueError):
            return  # it is being restarted
        self.samples.setdefault(rig.pid, []).append((at, (resident - of_files) * 4096 / 1e6))

    @property
    def most(self) -> float:
        """MB at most."""
        return max((size for life in self.samples.values() for _, size in life), default=0.0)

    def slopes(self) -> list[float]:
        """Return MB a minute of each long life, without its beginning."""
        found = []
        for life in self.samples.values():
            settled = [(at, size) for at, size in life if at > life[0][0] + SETTLED]
            if settled and settled[-1][0] - life[0][0] > LONG_LIFE:
                found.append(60 * linear_regression(*zip(*settled, strict=True)).slope)
        return found

    def leaks(self) -> list[str]:
        return [f"leak: the agent grew by {slope:.1f} MB a minute" for slope in self.slopes() if slope > STEEP]
