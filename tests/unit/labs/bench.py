"""A lab of two steps that needs no cluster: `ask` is the control of `look`. What they record is the test's choice."""

import io
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from labs.engine.claims import Claim, absent, true
from labs.engine.cluster import Cluster
from labs.engine.env import Env
from labs.engine.evidence import Evidence, StepEvidence
from labs.engine.model import Lab
from labs.engine.prose import parse
from labs.engine.screen import Screen

README = "# Bench\n\nintro\n\n## 1. Ask\n\nwhy ask\n\n## 2. Look\n\nwhy look\n\n## End\n\nbye\n"


@dataclass
class Bench:
    folder: Path
    seen: list[str] = field(default_factory=list[str])
    control: list[str] = field(default_factory=lambda: ["rule"])

    def __post_init__(self) -> None:
        self.printed = io.StringIO()
        self.evidence = Evidence(self.folder)
        self.screen = Screen(Console(file=self.printed, width=80))
        self.lab = Lab()
        self.lab.prose = parse(README)
        self.lab.folder = self.folder
        ask = self.lab.step("Ask")
        look = self.lab.step("Look", needs=[ask])

        @ask.act
        def record_control(env: Env) -> None:
            env.record("rules", self.control)

        @ask.check
        def some(seen: StepEvidence) -> list[Claim]:
            return [true("some are found", bool(seen["rules"]), f"{len(seen['rules'])}")]

        @look.act
        def record_rules(env: Env) -> None:
            env.record("rules", self.seen)

        @look.check
        def none(seen: StepEvidence) -> list[Claim]:
            return [absent("no rule", seen["rules"], control=seen.of(ask.key)["rules"])]

        self.ask, self.look = ask, look

    def env(self, step: str) -> Env:
        return Env(Cluster({}, {}, {}), self.evidence.of(step), self.screen, self.folder)
