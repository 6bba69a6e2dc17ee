"""A lab done by hand: what the reader is told, how `lab watch` judges what it sees, and which hints there are.

    guide = open_guide()              the open step, from the files
    guide.tell()                      the task
    guide.watch(pressed)              captures and judges until the step is true, or the reader opens another one
    guide.hint()                      the next of three

The reader types in any shell. Captures and looks see the effect; the output of commands is known from `lab exec` and
`lab shell`. A step is done when all of its claims are true, whatever was typed.
"""

import time
from collections.abc import Callable, Sequence
from enum import Enum

from labs.engine import progress
from labs.engine.claims import Claim, Verdict
from labs.engine.errors import LabError
from labs.engine.language import gettext as _
from labs.engine.language import told
from labs.engine.model import Step
from labs.engine.places import Command
from labs.engine.progress import Open, read_open, write_open
from labs.engine.runner import captured, claims_of, judge, observe, run_step, skipped, with_controls
from labs.engine.session import Session, open_lab
from socklb.errors import short

PAUSE = 0.3  # seconds between checks whether anything was captured or typed
QUIET = 2.0  # seconds between looks at what no packet shows
HINTS = 3


class Left(Enum):
    """How the watching of a step ended."""

    DONE = "done"
    AGAIN = "again"  # the reader wants to begin again
    ELSEWHERE = "elsewhere"  # another step was opened


class Guide:
    def __init__(self, session: Session, opened: Open) -> None:
        self.session, self.opened = session, opened
        self.lab, self.screen, self.evidence = session.lab, session.screen, session.evidence
        self.step = self._named(opened.step)
        self.section = self.lab.section(self.step)
        self._on = self.evidence.of(self.step.key).on  # from the snapshot: nobody is asked

    @property
    def following(self) -> Step | None:
        at = self.lab.steps.index(self.step) + 1
        return self.lab.steps[at] if at < len(self.lab.steps) else None

    def _named(self, key: str) -> Step:
        """Return the open step, which another version of the lab may not have."""
        for step in self.lab.steps:
            if step.key == key:
                return step
        raise LabError(f"{self.lab.name} has no step {short(key)}. Next: lab start {self.lab.number}")

    def tell(self) -> None:
        """Print the task, and what to type if that is not the task itself."""
        self.screen.heading(self.lab.heading(self.step))
        self.screen.prose(self.section.why)
        self.screen.line()
        for command in self.shown():
            self.screen.line(f"$ {command.typed}", "bold cyan")

    def tell_what_next(self) -> None:
        """Print the task, and how to check whether it is done."""
        self.tell()
        self.screen.line()
        self.screen.line(_("Keep `lab watch` in another terminal: it says when the step is done."))
        ways = _("Stuck: lab hint. See it done: lab solve. All steps at once: lab run {lab}")
        self.screen.line(ways.format(lab=self.lab.number))

    def shown(self) -> list[Command]:
        """Return the commands to type, except those that the README folds away."""
        commands = self.step.commands(self._on)
        return [
            command
            for command, told in zip(commands, self.section.typed, strict=False)
            if told not in self.section.hidden
        ]

    def watch(self, pressed: Callable[[float], bool]) -> Left:
        """Do the engine's part, then capture and judge until all is true. `pressed` waits and returns whether to begin
        again.
        """
        env = self.session.env(self.step)
        reasons = skipped(self.lab.needs_of(self.step), env, strict=False)
        if not reasons:
            self._record_controls()
        write_open(self.opened)
        self.evidence.wipe(self.step.key)
        if reasons:
            self._over(reasons)
            return Left.DONE
        for part in self.step.prepares:
            part(env)
        started = time.monotonic()
        with captured(self.step.where(env.on), env):
            self.screen.line(_("Watching. Type in another terminal; Enter here forgets what was seen."), "dim")
            left = self._until_true(pressed)
        if left is Left.DONE:
            observe(self.step, env)
            self.evidence.of(self.step.key).done()
            self._over(judge(self.step, self.evidence), time.monotonic() - started)
        return left

    def claims(self) -> list[Claim]:
        """Judge what has been seen so far."""
        env = self.session.env(self.step)
        env.seen.typed(progress.typed())
        observe(self.step, env)
        return claims_of(self.step, self.evidence)

    def hint(self) -> str:
        """Return the next hint: first the README's own; the last three are made from the step."""
        made = (self._missing, self._where, self._shape)
        level = min(self.opened.hints, HINTS - 1)
        progress.count_hint(self.opened)
        text = self.section.hints[level] if level < len(self.section.hints) else made[level]()
        return _("Hint {level} of {count}: {text}").format(level=level + 1, count=HINTS, text=text)

    def go(self, step: Step) -> "Guide":
        write_open(Open(self.lab.name, step.key))
        return open_guide()

    def _record_controls(self) -> None:
        for step in with_controls(self.step, self.evidence)[:-1]:
            doing = _("Step {number} is the control of this one: the lab does it.")
            self.screen.line(doing.format(number=self.lab.section(step).number), "dim")
            run_step(self.lab, step, self.session.env(step), self.evidence, strict=False)

    def _until_true(self, pressed: Callable[[float], bool]) -> Left:
        told = self.claims()
        judged, known, last = self._size(), self._size(), time.monotonic()
        while not true(told):
            if pressed(PAUSE):
                return Left.AGAIN
            if self.is_elsewhere():
                return Left.ELSEWHERE
            before, known = known, self._size()
            came = known == before != judged  # something new, and nothing since
            if came or (self.step.observes and time.monotonic() - last > QUIET):
                claims = self.claims()
                judged, last = known, time.monotonic()
                if claims != told and not true(claims):
                    self.screen.claims(claims)
                told = claims
        return Left.DONE

    def is_elsewhere(self) -> bool:
        now = read_open()
        return now is None or (now.lab, now.step) != (self.opened.lab, self.opened.step)

    def _size(self) -> int:
        """Return a number that changes when anything is captured or typed."""
        files = self.evidence.folder.glob(f"pcaps/{self.step.key}.*.pcap")
        return sum(file.stat().st_size for file in files) + 1_000_000_007 * len(progress.typed())

    def _over(self, claims: Sequence[Claim], seconds: float = 0.0) -> None:
        env = self.session.env(self.step)
        self.evidence.of(self.step.key).judged(claims, seconds)
        for look in self.step.where(env.on):
            if look.fold and look.name in env.seen.captures:
                env.show(look)
        self.screen.claims(claims)
        self.screen.prose(self.section.meaning)

    def _missing(self) -> str:
        claims = claims_of(self.step, self.evidence)
        wanted = [claim for claim in claims if claim.verdict is not Verdict.TRUE]
        missing = "; ".join(f"{told(claim.must)} ({told(claim.seen)})" for claim in wanted)
        return _("not true yet: {claims}").format(claims=missing)

    def _where(self) -> str:
        commands = self.step.commands(self._on)
        places = [
            (_("at {place}: {program}") if command.hooked else _("outside the hook, at {place}: {program}")).format(
                place=command.place, program=command.words[0]
            )
            for command in commands
        ]
        return _("what it takes is typed {places}").format(places="; ".join(dict.fromkeys(places)))

    def _shape(self) -> str:
        commands = self.step.commands(self._on)
        shapes = [f"{command.typed.partition(' -- ')[0]} -- {command.words[0]} …" for command in commands]
        return _("{commands}. The whole: lab solve").format(commands="; ".join(dict.fromkeys(shapes)))


def true(claims: Sequence[Claim]) -> bool:
    return bool(claims) and all(claim.verdict is Verdict.TRUE for claim in claims)


def open_guide() -> Guide:
    """Return the guide for the open step.

    Raises:
        LabError: no lab is open.
    """
    opened = progress.must_be_open()
    return Guide(open_lab(opened.lab), opened)
