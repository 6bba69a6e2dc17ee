"""A lab of two steps that needs no cluster: `ask` is the control of `look`. What they record is the test's choice."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from labs.engine.claims import Claim, absent, true
from labs.engine.env import Env
from labs.engine.evidence import Evidence, Seen
from labs.engine.model import Commands, Lab, Step
from labs.engine.places import Command, Output, at
from labs.engine.prose import parse
from labs.engine.scenario import Scenario
from labs.engine.screen import Screen
from tests.unit.labs.clusters import Target

README = "# Bench\n\nintro\n\n## 1. Ask\n\nwhy ask\n\n## 2. Look\n\nwhy look\n\n## End\n\nbye\n"


@dataclass(frozen=True)
class Rules:
    found: list[str]


class Desk(Env):
    """An environment in which every command says what it is."""

    def ask(self, command: Command) -> Output:
        return Output(command.typed, 0, " ".join(command.words), "", command.place, command.words)


@dataclass
class Bench:
    folder: Path
    seen: list[str] = field(default_factory=list[str])
    control: list[str] = field(default_factory=lambda: ["rule"])

    def __post_init__(self) -> None:
        self.printed = io.StringIO()
        self.evidence = Evidence(self.folder)
        self.evidence.snapshot(Target().cluster)
        self.screen = Screen(Console(file=self.printed, width=80))
        self.lab = Lab(minutes=1)
        self.lab.prose = parse(README)
        self.lab.folder = self.folder
        ask = self.lab.step("Ask")
        look = self.lab.step("Look", builds_on=[ask])

        @ask.act
        def type_a_question(on: Scenario) -> Commands:
            yield at(on.client, "ask")

        @ask.observe
        def record_control(env: Env) -> None:
            env.record(Rules(self.control))

        @ask.check
        def some(seen: Seen) -> Iterator[Claim]:
            yield true("it was asked", seen.said("ask").exit == 0, "ask")
            yield true("some are found", bool(seen[Rules].found), f"{len(seen[Rules].found)}")

        @look.act
        def type_a_look(on: Scenario) -> Commands:
            yield at(on.client, "look")

        @look.observe
        def record_rules(env: Env) -> None:
            env.record(Rules(self.seen))

        @look.check
        def none(seen: Seen) -> Iterator[Claim]:
            seen.said("look")
            yield absent("no rule", seen[Rules].found, control=seen.of(ask.key)[Rules].found)

        self.ask, self.look = ask, look

    def env(self, step: Step | None = None) -> Env:
        return Desk(Target(), self.evidence.of(step.key if step else ""), self.screen, self.folder)
