"""A clock that can be stepped for one program alone. The machine's own is never set.

    clock = SteppedClock(home)
    agent.around = clock.words
    clock.step(-3600)              # from now on it is an hour ago for the agent and the programs that it starts

Only the time of day is stepped, as settimeofday(2) would: monotonic clocks, sleeps and the times of files are the
machine's. (libfaketime steps sleeps too: its clock_nanosleep(2) refuses what Python's time.sleep asks for.)
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
SECONDS = struct.Struct("=q")


class SteppedClock:
    """See the module."""

    def __init__(self, home: Path) -> None:
        """Start without a step."""
        library, self._file = home / "clock.so", home / "clock"
        subprocess.run(["clang", "-shared", "-fPIC", "-O2", "-Wall", "-o", library, SOURCE], check=True)
        self.step(0)
        self.words = ["env", f"LD_PRELOAD={library}", f"STEPPED_CLOCK={self._file}"]

    def step(self, seconds: int) -> None:
        """Set it this far from the machine's clock."""
        mode = "r+b" if self._file.exists() else "wb"
        with self._file.open(mode) as file:  # in place: who looks at it has it mapped
            file.write(SECONDS.pack(seconds))
