"""What a program and its children take: CPU time by their cgroup's own account, and the most memory at one time.

    with Usage(cgroup) as usage:
        ...
        usage.cpu, usage.peak

Memory is the sum of what is resident of all processes, looked at fifty times a second: a child that lives shorter is
not seen.
"""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

from bench.memory import number_after, resident

EVERY = 0.02  # seconds


class Usage:
    """See the module."""

    def __init__(self, cgroup: Path) -> None:
        self._cgroup, self.peak = cgroup, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def cpu(self) -> float:
        """Return the seconds of CPU, user and system, of all that ever ran in the cgroup."""
        said = re.sub(r"^(\w+) ", r"\1: ", (self._cgroup / "cpu.stat").read_text(), flags=re.MULTILINE)
        return int(number_after("usage_usec", said)) / 1e6

    def _watch(self) -> None:
        while not self._over.wait(EVERY):
            self.peak = max(self.peak, sum(map(_resident, (self._cgroup / "cgroup.procs").read_text().split())))


def _resident(process: str) -> int:
    with suppress(OSError, LookupError):  # it has ended
        return resident(process)
    return 0
