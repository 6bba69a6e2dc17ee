"""A run of the bench as a file: its figures, and what must be known of the machine to compare them.

record = Record()
record.add(figures)   # after every part, so that a run that is stopped has left what it found
read(record.path)
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.figures import Figure
from socklb import __version__
from socklb.errors import SocklbError

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "bench"


class Machine(msgspec.Struct):
    """Where and of what a run was made. The loads are the averages of the last minute."""

    kernel: str
    cpu: str
    cores: int
    version: str
    commit: str
    begun: str
    tools: list[str]
    load_at_begin: float
    load_at_end: float = 0.0
    seconds: float = 0.0


class Run(msgspec.Struct):
    """What a file holds."""

    machine: Machine
    figures: list[Figure]


class Record:
    """A run while it goes on."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._since = time.monotonic()
        self._run = Run(_machine(), [])
        machine = self._run.machine
        self.path = folder / f"{machine.begun.replace(':', '').rstrip('Z')}-{machine.commit}.json"

    def add(self, figures: list[Figure]) -> None:
        """Add what a part found, and write the file, whole."""
        self._run.figures += figures
        machine = self._run.machine
        machine.load_at_end, machine.seconds = round(os.getloadavg()[0], 2), round(time.monotonic() - self._since, 1)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(text(self._run))
        new.rename(self.path)


def text(run: Run) -> str:
    """Return a file's text, with one line for each figure."""
    machine, *figures = (msgspec.json.encode(one).decode() for one in (run.machine, *run.figures))
    lines = ",\n".join(figures)
    return f'{{"machine": {machine},\n"figures": [\n{lines}\n]}}\n'


def read(path: Path) -> Run:
    """Read a file.

    Raises:
        SocklbError: there is none, or it is no run.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Run)
    except (OSError, msgspec.DecodeError) as error:
        raise SocklbError(
            f"this is no run of the bench: {error}", value=path, valid="a file as `python -m bench` writes it"
        ) from error


def _machine() -> Machine:
    """Return what is known before anything was measured."""
    return Machine(
        kernel=platform.release(),
        cpu=_cpu(),
        cores=os.cpu_count() or 0,
        version=__version__,
        commit=_commit(),
        begun=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        tools=[*_tools()],
        load_at_begin=round(os.getloadavg()[0], 2),
    )


def _cpu() -> str:
    found = re.search(r"^(?:model name|CPU part)\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _tools() -> Iterator[str]:
    """Yield the versions of what rules are made with, and of Kubernetes' programs."""
    for program in ("nft", "iptables"):
        if shutil.which(program):
            yield subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    said = subprocess.run(
        ["sh", "-euc", '. images/names.sh; echo "$version"'], cwd=ROOT, capture_output=True, text=True, check=True
    )
    yield f"Kubernetes {said.stdout.strip()}"


def _commit() -> str:
    """Return the commit, and whether files differ from it; without git "unknown"."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty=-changed", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip() or "unknown"
