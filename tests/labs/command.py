"""The `lab` command as a reader types it, away from a terminal."""

import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

from labs.engine.places import ROOT

STATE = ROOT / ".lab" / "local" / "01-socket-lb"


def lab(*words: str, given: str = "", limit: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lab"), *words],
        cwd=ROOT,
        input=given,
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )


def cases(junit: Path) -> list[tuple[str, str, str]]:
    """(step, claim, outcome) of each test case; the outcome is true, failure or error."""
    (suite,) = ET.parse(junit).getroot()
    return [(case.get("classname", ""), case.get("name", ""), case[0].tag if len(case) else "true") for case in suite]


def kill_in_the_middle(*words: str, begun: Callable[[], bool], limit: float) -> None:
    """Start `lab` with these words; kill it and all that it started once it has begun, or after so many seconds."""
    quiet = subprocess.DEVNULL
    running = subprocess.Popen(
        [Path(sys.executable).with_name("lab"), *words],
        cwd=ROOT, start_new_session=True, stdin=quiet, stdout=quiet, stderr=quiet,
    )  # fmt: skip
    end = time.monotonic() + limit
    while not begun() and time.monotonic() < end:
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()


def run_whole(*numbers: str) -> str:
    """Run labs as CI does, and return what they printed: every claim must be true."""
    done = lab("run", *numbers, "--ci", limit=240 * len(numbers))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
