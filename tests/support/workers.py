"""Python programs that stay in a place and answer there: starting one costs 60 ms of CPU, another question 1 ms.

    PROGRAM = "def answer(question): return question + 1"
    answer(cluster.pod("client"), PROGRAM, 41)      # 42
    run(cluster.pod("client"), "curl", "-s", url)   # a command of the place, for a tenth of what entering it costs

Questions and answers are JSON. A program stays until `end_all`, or until its place is no more; then the next question
starts another one.
"""

import contextlib
import json
import select
import subprocess
from typing import Any

from inventory.place import Place

PATIENCE = 120  # seconds for one answer
LOOP = """
import json, sys
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
"""
COMMANDS = """
import subprocess

def answer(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    return [command, done.returncode, done.stdout, done.stderr]
"""
_workers: dict[tuple[str, ...], "subprocess.Popen[str]"] = {}


def answer(place: Place, program: str, question: Any, hooked: bool = True) -> Any:
    """Ask the program of that place, which defines `answer(question)`. Its own words about an error are on stderr.

    Raises:
        RuntimeError: it ended instead of answering, or did not answer in time.
    """
    argv = tuple(place.argv("python3", "-Ic", program + LOOP, hooked=hooked))
    line = json.dumps(question)
    told = _tell(argv, line) or _tell(argv, line)  # its pod or node may have gone and come since the last question
    if not told:
        raise RuntimeError(f"the program in {place} ended instead of answering {line}")
    return json.loads(told)


def run(place: Place, *command: str) -> "subprocess.CompletedProcess[str]":
    """What Place.run gives. A failed command is no error here either."""
    return subprocess.CompletedProcess(*answer(place, COMMANDS, command))


def end_all() -> None:
    while _workers:
        _end(next(iter(_workers)))


def _tell(argv: tuple[str, ...], line: str) -> str:
    worker = _workers.get(argv) or subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    _workers[argv] = worker
    assert worker.stdin
    assert worker.stdout
    told = ""
    with contextlib.suppress(BrokenPipeError):
        worker.stdin.write(line + "\n")
        worker.stdin.flush()
        if not select.select([worker.stdout], [], [], PATIENCE)[0]:
            _end(argv)
            raise RuntimeError(f"no answer in {PATIENCE} s to {line}")
        told = worker.stdout.readline()
    if not told:
        _end(argv)
    return told


def _end(argv: tuple[str, ...]) -> None:
    worker = _workers.pop(argv)
    worker.terminate()
    with contextlib.suppress(BrokenPipeError):
        worker.communicate(timeout=10)
