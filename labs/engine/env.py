"""What a step's act may use: run commands at places, capture, and record what was seen. All of it shows on the screen.

with env.capture("pod", "client", "eth0", "tcp or icmp"):
    answer = env.run("client", "curl", "-s", url)
env.record("answer", answer.out.strip())
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from labs.engine.capture import Capture, read, recording, tcpdump, until_stdin_ends
from labs.engine.cluster import Cluster
from labs.engine.evidence import StepEvidence
from labs.engine.ladder import FOLD
from labs.engine.places import Output
from labs.engine.screen import LINES, Screen


@dataclass(frozen=True)
class Env:
    cluster: Cluster
    evidence: StepEvidence
    screen: Screen
    folder: Path  # the lab's own: for files that go to a command's standard input

    def run(
        self, place: str, *command: str, hooked: bool = True, stdin: str | None = None, lines: int = LINES
    ) -> Output:
        """Run a command in a pod or on a node, and show it with what it said."""
        done = self.quietly(place, *command, hooked=hooked, stdin=stdin)
        self.screen.command(done, lines)
        return done

    def quietly(self, place: str, *command: str, hooked: bool = True, stdin: str | None = None) -> Output:
        """The same, not shown: for questions beside the story."""
        file = self.folder / stdin if stdin else None
        return self.cluster.place(place).run(*command, hooked=hooked, stdin=file)

    def record(self, key: str, value: object) -> None:
        self.evidence.record(key, value)

    @contextmanager
    def capture(self, name: str, place: str, interface: str, expression: str) -> Generator[None]:
        """Capture while the block runs; afterwards `seen.capture(name)` has it."""
        at, file = self.cluster.place(place), self.evidence.pcap(name)
        command = tcpdump(interface, expression)
        with recording(at.argv(*until_stdin_ends(command)), file) as report:
            yield
        kept = f"{file.parent.name}/{file.name}"
        typed = f"{at.typed(*command)} > {name}.pcap"
        self.evidence.keep(name, Capture(place, interface, expression, kept, typed, report.dropped, read(file)))

    def show(self, name: str, fold: int = FOLD) -> None:
        """The ladder of a capture, with the command that made it."""
        self.screen.capture(self.evidence.capture(name), self.evidence.pcap(name), fold)
