"""Where a lab's commands run, and how they get there: nodes and pods of the inventory, by their short names.

    at("client", "curl", "-s", url)                a command, not run yet
    ask(place, command)                            runs it there; the caller checks its exit status
    command.typed                                  the same as a reader types it: lab exec client -- curl -s ...

With hooked=False a command runs in the same network, outside the hook's cgroup: the control. A place comes from the
inventory (`inventory.place`); the way from a node into a pod comes from the target that found the pod.
"""

import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from inventory.place import Place
from labs.engine.errors import CannotRunError

ROOT = Path(__file__).resolve().parents[2]
KUBECTL = ("kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf")  # at a control plane
LIMIT = 10.0  # seconds; a command that takes longer has a limit of its own
TOO_SLOW = 124


@dataclass(frozen=True)
class Command:
    place: str
    words: tuple[str, ...]
    hooked: bool = True
    stdin: Path | None = None
    lines: int = 14  # how many lines of its output are shown
    seconds: float = LIMIT

    @property
    def typed(self) -> str:
        outside = [] if self.hooked else ["--unhooked"]
        line = shlex.join(["lab", "exec", self.place, *outside, "--", *self.words])
        return f"{line} < {self.stdin.relative_to(ROOT)}" if self.stdin else line


def at(
    place: str, *words: str, hooked: bool = True, stdin: Path | None = None, lines: int = 14, seconds: float = LIMIT
) -> Command:
    return Command(place, words, hooked, stdin, lines, seconds)


@dataclass(frozen=True)
class Output:
    """The output of a command; `typed` is what a reader types to see the same."""

    typed: str
    exit: int
    out: str
    err: str
    place: str = ""
    words: tuple[str, ...] = ()
    hooked: bool = True


def ask(place: Place, command: Command, given: str = "") -> Output:
    """Run a command there, with a file or `given` as its standard input.

    The caller checks its exit status; TOO_SLOW if it did not end.
    """
    said = (command.place, command.words, command.hooked)
    stdin = command.stdin.read_text() if command.stdin else given
    try:
        done = place.run(*command.words, hooked=command.hooked, given=stdin, timeout=command.seconds)
    except FileNotFoundError as error:
        raise CannotRunError(f"there is no {error.filename} on PATH, by which {place.name} is reached") from None
    except subprocess.TimeoutExpired:
        return Output(command.typed, TOO_SLOW, "", f"this did not end within {command.seconds} s", *said)
    return Output(command.typed, done.returncode, done.stdout, done.stderr, *said)
