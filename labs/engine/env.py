"""What the engine's own part of a step may use: commands at places, captures, waiting, and records for checks.

env.run(on.curl(on.node_port()))               run and show
env.ask(at(on.asked, "socklb", ...))           run only: not shown to the reader
with env.capture(on.at_pod("outside")): ...    a control: captured within the block
env.until("web-2 is served again", look)       wait, and say for what
env.start("load", command), env.stop("load")   a process that lives through several steps
env.record(Flows([...]))                       what a check reads as seen[Flows]
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from labs.engine.capture import Capture, Look, Report, recording, tcpdump, until_stdin_ends
from labs.engine.errors import CannotRunError
from labs.engine.evidence import Seen
from labs.engine.language import gettext as _
from labs.engine.language import told
from labs.engine.places import Command, Output, ask, at
from labs.engine.scenario import Scenario
from labs.engine.screen import Screen
from labs.engine.target import Target

Found = TypeVar("Found")
PATIENCE = 20.0  # seconds
PAUSE = 0.1
# A process in a session of its own, which outlives the command that starts it; its pid and its output are in two files.
_START = 'name=$1; shift; setsid "$@" >"$name.log" 2>&1 </dev/null & echo $! >"$name.pid"'
_STOP = (
    'if [ -e "$1.pid" ]; then kill -s TERM -- "-$(cat "$1.pid")" 2>/dev/null; fi; '
    'cat "$1.log" 2>/dev/null; rm -f "$1.pid" "$1.log"'
)


@dataclass(frozen=True)
class Env:
    target: Target
    seen: Seen
    screen: Screen
    folder: Path  # the lab's own, for files that are a command's standard input

    @property
    def on(self) -> Scenario:
        return Scenario(self.target.cluster)

    def run(self, command: Command) -> Output:
        """Run a command in a pod or on a node, and show it with its output."""
        done = self.ask(command)
        self.screen.command(done, command.lines)
        return done

    def ask(self, command: Command) -> Output:
        """Do the same without showing it."""
        return ask(self.target.place(command.place), command)

    def record(self, fact: object) -> None:
        """Store a dataclass: a check reads it as seen[Type]."""
        self.seen.record(fact)

    def until(self, what: str, look: Callable[[], Found | None], seconds: float = PATIENCE) -> Found:
        """Look again and again until something is found, and return that. `what` follows "Waiting until".

        Raises:
            CannotRunError: it was not found in time.
        """
        end = time.monotonic() + seconds
        waiting = False
        while not (found := look()):
            if not waiting:
                self.screen.line(_("Waiting until {what} …").format(what=told(what)), "dim")
                waiting = True
            if time.monotonic() > end:
                raise CannotRunError(f"it did not happen within {seconds:.0f} s that {what}; the last look: {found!r}")
            time.sleep(PAUSE)
        return found

    def start(self, name: str, command: Command) -> None:
        """Start a process that runs until stop(), also through other steps and when this program ends."""
        self.ask(at(command.place, "sh", "-c", _START, "sh", f"/tmp/lab-{name}", *command.words, hooked=command.hooked))

    def stop(self, name: str, place: str) -> str:
        """End a process that start() started there, if any, and return all its output."""
        return self.ask(at(place, "sh", "-c", _STOP, "sh", f"/tmp/lab-{name}")).out

    @contextmanager
    def capture(self, look: Look) -> Generator[None]:
        """Capture within the block; afterwards `seen.capture(look.name)` has it."""
        with self.recording(look) as report:
            yield
        self.keep(look, report)

    @contextmanager
    def recording(self, look: Look) -> Generator[Report]:
        place = self.target.place(look.place)
        command = until_stdin_ends(tcpdump(look.interface, look.filter))
        with recording(place.argv(*command), self.seen.pcap(look.name)) as report:
            yield report

    def keep(self, look: Look, report: Report, *, growing: bool = False) -> None:
        """Store a capture as far as it is."""
        file = self.seen.pcap(look.name)
        typed = f"{at(look.place, *tcpdump(look.interface, look.filter)).typed} > {look.name}.pcap"
        kept = f"{file.parent.name}/{file.name}"
        capture = Capture(look.place, look.interface, look.filter, kept, typed, report.dropped, (), growing=growing)
        self.seen.keep(look.name, capture)

    def show(self, look: Look) -> None:
        """Show a capture as a ladder, with the command that made it."""
        self.screen.capture(self.seen.capture(look.name), self.seen.pcap(look.name), look.fold)
