"""Runs what tests/kernels/inside.py asks on the newest kernel of each suite of Debian, one for each core at once.

    python -m tests.kernels.run                     all of SUITES
    python -m tests.kernels.run bookworm-security   one
    python -m tests.kernels.run bookworm-security --tests tests/kernels/test_uplinks.py -k Bond
                                                    other tests there, as pytest takes them

Everything that was printed is in build/log/kernel-SUITE.log. The verdicts are a table, whose lines docs/kernels.md must
have: one that it has not is a failure, as a failed test is. Suites that only report fail in neither way.
"""

from __future__ import annotations

import multiprocessing
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from socklb.errors import SocklbError
from tests.kernels.boot import Machine
from tests.kernels.initramfs import Kernel
from tests.kernels.inside import MARK, Facts, Part

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "kernels.md"
PARTS = ("doctor", "sockets", "packets", "agent")
SECONDS = 900.0  # of a machine, which takes 150
SECONDS_BY_HAND = 3600.0
TESTS = "--tests"
HEAD = f"| suite | Linux | hooks | packet path | attached by | {' | '.join(PARTS)} |"


class Suite(NamedTuple):
    """A suite of Debian; `gates`: whether its kernel has to pass."""

    name: str
    gates: bool = True


SUITES = (
    Suite("bullseye-security"),
    Suite("bookworm-security"),
    Suite("trixie-security"),
    Suite("trixie-backports", gates=False),  # the newest, which changes by itself
)


class Run(msgspec.Struct):
    """What a machine told."""

    facts: Facts | None = None
    parts: dict[str, Part] = {}
    exit_code: int | None = None
    console: str = ""
    seconds: float = 0

    def read(self, line: str) -> None:
        """Take a line that it printed."""
        if not line.startswith(MARK):
            return
        told = msgspec.json.decode(line.removeprefix(MARK))
        if told.pop("kind") == "facts":
            self.facts = msgspec.convert(told, Facts)
        else:
            part = msgspec.convert(told, Part)
            self.parts[part.name] = part

    @property
    def crashed(self) -> bool:
        """Whether the machine itself ended, not what ran in it."""
        return self.exit_code is None and ("Kernel panic" in self.console or "Oops" in self.console)

    @property
    def failures(self) -> list[str]:
        failed = [
            f"{name}: {why.partition(chr(10))[0][:200]}"
            for part in self.parts.values()
            for name, why in part.failed.items()
        ]
        silent = [f"{name}: no result, exit code {self.exit_code}" for name in PARTS if name not in self.parts]
        return failed + silent

    def row(self, suite: str) -> str:
        """Return the line of the table."""
        if self.facts is None:
            return f"| {suite} | did not start |"
        series = ".".join(self.facts.release.split(".")[:2])
        verdicts = [_verdict(self.parts.get(name)) for name in PARTS]
        given = (suite, series, self.facts.hooks, self.facts.packets, self.facts.attached_by, *verdicts)
        return f"| {' | '.join(given)} |"


def _verdict(part: Part | None) -> str:
    if part is None or part.failed:
        return "FAILED"
    return f"passed, {len(part.skipped)} lack a feature" if part.skipped else "passed"


def main(names: Sequence[str]) -> int:
    if TESTS in names:
        at = names.index(TESTS)
        return by_hand(names[:at], names[at + 1 :])
    document = DOCUMENT.read_text()
    troubles: list[str] = []
    rows = [HEAD]
    chosen = [suite for suite in SUITES if not names or suite.name in names]
    with multiprocessing.get_context("fork").Pool() as at_once:
        for suite, run in zip(chosen, at_once.imap(_run_or_reason, (suite.name for suite in chosen)), strict=True):
            if isinstance(run, str):
                print(f"!!! {suite.name}: NOT TRIED: {run}", flush=True)
                found = [run]
            else:
                rows.append(run.row(suite.name))
                found = run.failures
                print(
                    f"{suite.name}: {run.facts and run.facts.release}, {run.seconds:.0f} s",
                    *found,
                    sep="\n    ",
                    flush=True,
                )
                if rows[-1] not in document:
                    found.append(f"docs/kernels.md has no line: {rows[-1]}")
            troubles += [f"{suite.name}: {one}" for one in found if suite.gates]
    print("\n", *rows, "", *troubles, sep="\n")
    return 1 if troubles else 0


def by_hand(suites: Sequence[str], words: Sequence[str]) -> int:
    """Run tests of somebody's choice on the kernels of these suites; give 1 unless all passed."""
    failures: list[str] = []
    for suite in suites:
        run = booted(Kernel(fetched(suite)), ROOT / "build" / "log" / f"kernel-{suite}-by-hand.log", words)
        asked = run.parts.get("asked", Part("asked", failed={"all": f"no result, exit code {run.exit_code}"}))
        print(
            f"{suite}: {asked.passed} passed, {len(asked.skipped)} skipped, {run.seconds:.0f} s",
            *asked.failed,
            sep="\n    ",
        )
        failures += asked.failed
    return 1 if failures else 0


def _run_or_reason(suite: str) -> Run | str:
    try:
        return tried(suite)
    except SocklbError as error:
        return str(error)


def tried(suite: str) -> Run:
    """Fetch a suite's kernel and run it; once more where the machine itself ends, as emulated ones rarely do.

    Raises:
        SocklbError: there is no such kernel, or nothing to boot it with.
    """
    kernel = Kernel(fetched(suite))
    for _ in range(2):
        run = booted(kernel, ROOT / "build" / "log" / f"kernel-{suite}.log")
        if not run.crashed:
            break
    return run


def fetched(suite: str) -> Path:
    """Return the folder of a suite's newest kernel.

    Raises:
        SocklbError: it cannot be had.
    """
    done = subprocess.run([Path(__file__).with_name("get.sh"), suite], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SocklbError("no kernel of this suite of Debian can be had", value=suite, hint="the line above says why")
    return Path(done.stdout.strip())


def booted(kernel: Kernel, log: Path, tests: Sequence[str] = ()) -> Run:
    """Run everything on a kernel, or some tests."""
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "tests.kernels.inside", *tests]
    command = f"cd {shlex.quote(str(ROOT))} && exec {shlex.join(words)}"
    began, run = time.monotonic(), Run()
    with log.open("w") as file, Machine(kernel, command, seconds=SECONDS_BY_HAND if tests else SECONDS) as machine:
        for line in machine.lines():
            print(line, file=file, flush=True)
            run.read(line)
        print(machine.console, file=file)
        run.exit_code, run.console = machine.exit_code, machine.console
    run.seconds = time.monotonic() - began
    return run


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # of `timeout`: the machine goes with us
    sys.exit(main(sys.argv[1:]))
