"""Where a lab's commands run, and how this machine gets there: nodes and pods of the inventory, by their short names.

    at("client", "curl", "-s", url)                a command, not run yet
    place.run(command)                             runs it there; its exit status is the caller's to judge
    command.typed                                  the same as a reader types it: lab exec client -- curl -s ...

With hooked=False a command runs in the same network, outside the hook's cgroup: the control. Every way to a machine is
the inventory's (`inventory.reach`); what leads from a node into a pod, the target says that found it.
"""

import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from inventory import reach
from inventory.hosts import AnyHost
from labs.engine.errors import CannotRunError

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 10.0  # seconds; what takes longer says so
TOO_SLOW = 124


@dataclass(frozen=True)
class Command:
    place: str
    words: tuple[str, ...]
    hooked: bool = True
    stdin: Path | None = None
    lines: int = 14  # of what it says are shown
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
    """What a command said; `typed` is what a reader types to see the same."""

    typed: str
    exit: int
    out: str
    err: str
    place: str = ""
    words: tuple[str, ...] = ()
    hooked: bool = True


@dataclass(frozen=True)
class Way:
    """From this machine to a place: a host of the inventory, and what stands before the command there."""

    host: AnyHost
    enter: tuple[str, ...] = ()
    hooked: bool = True  # for a host: in its cgroup
    at_terminal: tuple[str, ...] = ()  # instead of `enter`, for who sits at a terminal


@dataclass(frozen=True)
class Place:
    name: str
    way: Way
    unhooked: Way

    def argv(self, *words: str, hooked: bool = True, terminal: bool = False) -> list[str]:
        way = self.way if hooked else self.unhooked
        enter = (way.at_terminal or way.enter) if terminal else way.enter
        return reach.argv(way.host, *enter, *words, hooked=way.hooked, terminal=terminal)

    def run(self, command: Command, given: str = "") -> Output:
        """Run a command there, with a file or with what is given as its standard input.

        Its exit status is the caller's to judge; TOO_SLOW if it did not end.
        """
        said = (command.place, command.words, command.hooked)
        try:
            done = subprocess.run(
                self.argv(*command.words, hooked=command.hooked),
                input=command.stdin.read_text() if command.stdin else given,
                capture_output=True, text=True, errors="replace", timeout=command.seconds, check=False,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise CannotRunError(f"there is no {error.filename} on PATH, by which {self.name} is reached") from None
        except subprocess.TimeoutExpired:
            return Output(command.typed, TOO_SLOW, "", f"this did not end within {command.seconds} s", *said)
        return Output(command.typed, done.returncode, done.stdout, done.stderr, *said)


def machine(name: str, host: AnyHost) -> Place:
    return Place(name, Way(host), Way(host, hooked=False))
