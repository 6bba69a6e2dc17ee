"""A lab's steps as operations of a deploy: each is done and judged by the `lab` command, which runs on this machine."""

import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

from pyinfra.api.command import FunctionCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.api.operation import operation

ROOT = Path(__file__).parents[2]
STEP = re.compile(r"^## (\d+)\. (.+)$", re.MULTILINE)


class StepError(OSError):
    """A claim of a step is false. It is an OSError, because pyinfra reports those as the failure of one host."""


def steps(lab: str) -> list[tuple[int, str]]:
    """Return number and title of each step, as the lab's README has them.

    Raises:
        OperationError: there is no such lab.
    """
    readmes = sorted((ROOT / "labs").glob(f"{lab}-*/README.md"))
    if len(readmes) != 1:
        known = ", ".join(sorted(path.parent.name for path in (ROOT / "labs").glob("[0-9]*-*/README.md")))
        raise OperationError(f"--data lab={lab}: no such lab. Valid: the number of one of {known}")
    return [(int(number), title) for number, title in STEP.findall(readmes[0].read_text())]


@operation(is_idempotent=False)
def step(lab: str, number: int) -> Generator[FunctionCommand, None, None]:
    """Do one step and judge it."""
    yield FunctionCommand(_run, (lab, number), {})


def _run(lab: str, number: int) -> None:
    command = [Path(sys.executable).with_name("lab"), "run", lab, "--step", str(number)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        shown = f"lab run {lab} --step {number}"
        raise StepError(f"exit code {done.returncode} from: {shown}\n{done.stdout}{done.stderr}")
