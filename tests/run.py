"""Runs every tier, as `make test` does: several runs of pytest at once, for each of them waits half of its time.

    python tests/run.py                 what each says is in build/log/test-<run>.log, and shown when it ends
    python tests/run.py -x -k udp       with arguments for pytest: one after the other, in one run

At the end it says how long each run took and which tests were slowest. The longest of the last time begin first. One
run more than there are cores is at work, and another whenever the cores were idle for much of ten seconds. The exit
code is 0 if everything passed.
"""

import os
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[1]
# Tiers that use the same thing, of which a machine has one, are in one run; one that waits long and does not is in two.
# Longest first, where nothing was measured.
RUNS = {
    "e2e": ["tests/e2e"],
    "cluster": ["tests/cluster", "tests/nodes", "tests/labs"],
    "datapath": ["tests/datapath/test_[a-h]*.py"],
    "datapath-2": ["tests/datapath/test_[i-z]*.py"],
    "unit": ["tests/unit"],
    "kube": ["tests/kube"],
    "packets": ["tests/packets", "tests/tc"],
    "chaos": ["tests/chaos", "tests/upgrades"],
}
AT_ONCE = (os.cpu_count() or 1) + 1
LOOK = 10.0  # seconds between looks at how idle the cores were
SPARE = 0.25  # of all cores' time: with so much idle, another run begins
SLOWEST = 10


class Run:
    """One pytest at work."""

    def __init__(self, name: str) -> None:
        self.name, self._began = name, time.monotonic()
        self.log = ROOT / "build" / "log" / f"test-{name}.log"
        with self.log.open("w") as log:
            words = pytest(*files(name), f"--junit-xml={report(name)}")
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        print(f"{', '.join(RUNS[name])}: into {self.log.relative_to(ROOT)}", flush=True)

    def show(self) -> None:
        """Wait, and show what it said."""
        self.process.wait()
        self.seconds = time.monotonic() - self._began
        print(f"\n{self.log.relative_to(ROOT)}:\n{self.log.read_text()}", flush=True)


def main(arguments: list[str]) -> int:
    if arguments:
        return subprocess.run(pytest(*chain(*map(files, RUNS)), *arguments), check=False).returncode
    (ROOT / "build" / "log").mkdir(parents=True, exist_ok=True)
    waiting = sorted(RUNS, key=lambda name: -measured(name))
    running: list[Run] = []
    ended: list[Run] = []
    at_once = AT_ONCE
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(Run(waiting.pop(0)))
            before = core_time()
            ended += (just_ended := end_of_some(running))
            if not just_ended and idle(before, core_time()) > SPARE:
                at_once += 1
    except KeyboardInterrupt:  # they have it too, and clear away what they made
        print("Waiting for all to clear away what they made", flush=True)
        for run in running:
            run.show()
        return 1
    summary(ended)
    return 1 if any(run.process.returncode for run in ended) else 0


def pytest(*words: str) -> list[str]:
    return [sys.executable, "-m", "pytest", *words]


def files(name: str) -> list[str]:
    """The folders and files of a run. A pattern that fits nothing stays as it is, for pytest to say so."""
    return [path for words in RUNS[name] for path in sorted(map(str, ROOT.glob(words))) or [words]]


def report(name: str) -> Path:
    return ROOT / "build" / f"junit-{name}.xml"


def end_of_some(running: list[Run]) -> list[Run]:
    """Wait until a run ends, or for LOOK seconds; show it and take it from the list."""
    end = time.monotonic() + LOOK
    while not (ended := [run for run in running if run.process.poll() is not None]) and time.monotonic() < end:
        time.sleep(0.2)
    for run in ended:
        run.show()
        running.remove(run)
    return ended


def core_time() -> tuple[int, int]:
    """What all cores together have spent since the machine started, and how much of it idle or waiting for a disk."""
    spent = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(spent), spent[3] + spent[4]


def idle(before: tuple[int, int], now: tuple[int, int]) -> float:
    """The idle part of the time between."""
    return (now[1] - before[1]) / max(1, now[0] - before[0])


def cases(name: str) -> list[tuple[float, str]]:
    """Seconds and id of each test of a run's last report; none if there is no whole report."""
    try:
        found = ET.parse(report(name)).iter("testcase")
    except (OSError, ET.ParseError):
        return []
    return [(float(case.get("time", 0)), f"{case.get('classname')}.{case.get('name')}") for case in found]


def measured(name: str) -> float:
    """How long a run took last time; never: it begins among the first, in the order of RUNS."""
    return sum(seconds for seconds, _ in cases(name)) or float("inf")


def summary(ended: list[Run]) -> None:
    print(f"The {SLOWEST} slowest tests:")
    for seconds, test in sorted((case for run in ended for case in cases(run.name)), reverse=True)[:SLOWEST]:
        print(f"{seconds:6.1f} s  {test}")
    print("The runs:")
    for run in ended:
        result = "passed" if run.process.returncode == 0 else f"exit code {run.process.returncode}"
        print(f"{run.seconds:6.0f} s  {', '.join(RUNS[run.name])}: {result}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
