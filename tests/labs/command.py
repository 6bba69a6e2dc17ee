"""The `lab` command as a reader types it, away from a terminal."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from labs.engine.places import ROOT

STATE = ROOT / ".lab" / "local" / "01-socket-lb"


def lab(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lab"), *words],
        cwd=ROOT,
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def cases(junit: Path) -> list[tuple[str, str, str]]:
    """(step, claim, outcome) of each test case; the outcome is true, failure or error."""
    (suite,) = ET.parse(junit).getroot()
    return [(case.get("classname", ""), case.get("name", ""), case[0].tag if len(case) else "true") for case in suite]


def run_whole(number: str) -> str:
    """Run a lab as CI does, and return what it printed: every claim must be true."""
    done = lab("run", number, "--ci")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
