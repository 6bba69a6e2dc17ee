"""A random walk over faults, under load, with an oracle: the same seed gives the same faults in the same order.

    outcome = Walk(rig, churn, crowd, seed, log).run(seconds=120)
    outcome.violations

A step has one fault or two at once, for a moment or for more than ten seconds; then all must be well again within
CONVERGE. Churn goes on all the time, at a rate that each step chooses.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos import faults_of_agent, faults_of_api, faults_of_kernel, faults_of_node  # noqa: F401
from tests.chaos.churn import Churn
from tests.chaos.client import STREAM_PATIENCE, STREAMS
from tests.chaos.crowd import Crowd
from tests.chaos.faults import CONVERGE, FAULTS, Fault, Undo
from tests.chaos.history import Event, Window
from tests.chaos.leaks import Footprint, Memory, slots
from tests.chaos.oracle import Oracle
from tests.chaos.rig import Rig, built
from tests.chaos.starving import Starving
from tests.chaos.wellness import NEARLY_FULL, Wellness

BEGIN = 300.0  # seconds
NAMED_AFTER = 10.0  # seconds
ENDED = 150.0  # seconds
MOST_STARVING = 100.0  # seconds without a core that are taken off
SHOWN = 60  # violations; of more every hundredth
RATES = (0.0, 2.0, 10.0, 50.0, 200.0)  # changes a second
TWICE, LONG = 0.3, 0.08  # of all steps: two faults at once, and one that lasts


@dataclass
class Outcome:
    steps: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    slowest: float = 0.0  # seconds until all was well again
    slowest_after: str = ""
    interrupted: bool = False


class Walk:
    """See the module."""

    rates = RATES

    def __init__(self, rig: Rig, churn: Churn, crowd: Crowd, seed: int, tell: Callable[[str, str], object]) -> None:
        self.rig, self.churn, self.crowd, self._tell = rig, churn, crowd, tell
        self._chance = Random(seed)
        self._unjudged: list[Event] = []
        self.oracle = Oracle(churn.history)
        self.well = Wellness(rig, churn, crowd, self.oracle)
        self.outcome, self.memory = Outcome(), Memory()

    def run(self, seconds: float, known: Sequence[Fault] = ()) -> Outcome:
        """Walk for so long, or until Ctrl-C: then what was judged until then stands. known: the only faults to do."""
        self._begin()
        leaks, end = self.leaks_from_now(), time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                self._step(known or [FAULTS[name] for name in sorted(FAULTS)])
        except KeyboardInterrupt:
            self.outcome.interrupted = True
            return self.outcome
        self.churn.rate = 0.0
        self._converge("the end", CONVERGE)
        self._judge()
        for leak in leaks():
            self.violation(leak)
        return self.outcome

    def leaks_from_now(self) -> Callable[[], list[str]]:
        """Return what tells at the end what has leaked since now."""
        before = Footprint.of(self.rig)
        return lambda: [*self._leaks(before), *self.memory.leaks()]

    def _leaks(self, before: Footprint) -> list[str]:
        """What is there for a moment is none: to look for sockets, the agent has a descriptor of each process."""
        end = time.monotonic() + ENDED
        while (found := before.leaks(Footprint.of(self.rig))) and time.monotonic() < end:
            time.sleep(1)
        return found

    def nobody_left(self) -> None:
        """All clients have ended: their sockets have given back what they were given.

        One whose cgroup was made anew has no release hook: the agent looks once a minute, and gives it back at the next
        look.
        """
        end = time.monotonic() + ENDED
        while (taken := slots(self.rig)) and time.monotonic() < end:
            time.sleep(0.2)
        if taken:
            self.violation(f"leak: {taken} slots of sockets are taken, and all sockets are closed")

    def _begin(self) -> None:
        """Wait for the first answers: so many programs take a while to start."""
        began, wanted = time.monotonic(), self.well.wanted()
        window = Window("the start", frozenset({"socket", "packet", "agent"}), began)
        self.churn.history.windows.append(window)
        while wrong := self.well.wrong(wanted, began):
            self._judge_nothing()
            assert time.monotonic() < began + BEGIN, wrong
            time.sleep(0.2)
        window.ended = time.monotonic()
        self._judge()

    def violation(self, text: str) -> None:
        self.outcome.violations.append(text)
        if len(self.outcome.violations) <= SHOWN or not len(self.outcome.violations) % 100:
            self._tell("violation", text)

    def _step(self, known: Sequence[Fault]) -> None:
        chance = self._chance
        chosen = self._choose(known)
        self.churn.rate = chance.choice(self.rates)
        long = len(chosen) == 1 and chosen[0].holds and chance.random() < LONG
        hold = chance.uniform(11, 13) if long else chance.uniform(0, 1.5)
        name = " + ".join(fault.name for fault in chosen)
        self._tell("fault", f"{name}; {hold:.1f} s, {self.churn.rate:.0f} changes a second")
        window = Window(name, _hurts(chosen), time.monotonic())
        self.churn.history.windows.append(window)
        with ExitStack() as undone:  # also if the walk itself fails
            for fault in chosen:
                undone.callback(self._do(fault) or (lambda: None))
            time.sleep(hold)
            if long and chosen[0].named:
                self._must_be_named(chosen[0])
        self._tell("undone", name)
        self.outcome.steps += 1
        self.outcome.faults.update(fault.name for fault in chosen)
        self._converge(name, max(fault.within for fault in chosen), max(fault.unseen for fault in chosen))
        window.ended = time.monotonic()
        self._judge()
        self.step_ended(window.ended)

    def step_ended(self, at: float) -> None:
        self.memory.look(self.rig, at)

    def _choose(self, known: Sequence[Fault]) -> list[Fault]:
        weights = [fault.weight for fault in known]
        chosen = self._chance.choices(known, weights, k=2 if self._chance.random() < TWICE else 1)
        first, last = chosen[0], chosen[-1]
        return [first] if first is last or _in_the_way(first, last) else [first, last]

    def _do(self, fault: Fault) -> Undo | None:
        try:
            return fault.do(self.rig, self._chance)
        except AssertionError as error:
            self.violation(f"fault {fault.name}: {error}")
            return None

    def _must_be_named(self, fault: Fault) -> None:
        said = self.rig.told()
        if not re.search(fault.named, said):
            self.violation(f"not named: after {NAMED_AFTER:.0f} s of {fault.name} status said {said!r}")

    def _converge(self, after: str, within: float, unseen: float = 0.0) -> None:
        """Wait until all is well, and known to be. What is not after ten seconds must be named; after fifteen it is a
        violation.
        """
        began, asked_for_name, wanted = time.monotonic(), False, self.well.wanted()
        starving = Starving(self.rig.pids)
        while (wrong := self.well.wrong(wanted, began)) or time.monotonic() - began < unseen:
            self._judge_nothing()
            self.rig.revive()
            waited = time.monotonic() - began - min(MOST_STARVING, starving.seconds)
            # One ask of a client may take as long as it has patience: that has its limit below.
            if waited > NAMED_AFTER and not asked_for_name and not wrong.startswith(("Client(", NEARLY_FULL)):
                asked_for_name = True
                if not self.rig.told() and self.well.wrong(wanted, began):  # asking takes seconds on a busy machine
                    self.violation(f"not named: {waited:.0f} s after {after} status says nothing, but: {wrong}")
            # Streams by packet that end without a word are waited for by their client, one after the other.
            patience = STREAMS * STREAM_PATIENCE if wrong.startswith("Client(kind='stream'") else 0.0
            if waited > within + patience:
                self.violation(f"not well {waited:.0f} s after {after}: {wrong}")
                self._recover(wanted, began)
                break
            time.sleep(0.1)
        hungry = starving.seconds
        took = max(0.0, time.monotonic() - began - hungry)
        self._tell("well", f"{took:.1f} s and {hungry:.1f} s of waiting for a core after {after}")
        if took > self.outcome.slowest:
            self.outcome.slowest, self.outcome.slowest_after = took, after

    def _recover(self, wanted: dict[Any, int], began: float) -> None:
        """Have the walk go on after a violation: give it a minute, then a new agent."""
        end = time.monotonic() + 45
        while self.well.wrong(wanted, began) and time.monotonic() < end:
            self._judge_nothing()
            time.sleep(0.5)
        if self.well.wrong(wanted, began):
            self._tell("restart", "the walk's own, after a violation")
            self.rig.restart()
            time.sleep(10)

    def _judge_nothing(self) -> None:
        """Read what clients saw; it is judged once the step is over."""
        self._unjudged = [*self._unjudged, *self.crowd.news()]

    def _judge(self) -> None:
        self._judge_nothing()
        found = list(filter(None, map(self.oracle.judge, self._unjudged)))
        self._unjudged = []
        for violation in found:
            self.violation(violation)


def _hurts(chosen: list[Fault]) -> frozenset[str]:
    hurts = frozenset[str]().union(*(fault.hurts for fault in chosen))
    if len(chosen) > 1 and any("bpf" in fault.name or "pin" in fault.name for fault in chosen):
        hurts |= {"socket", "packet"}  # nobody may hold what is not pinned
    return hurts


def _in_the_way(one: Fault, other: Fault) -> bool:
    """Whether two of them cannot be done at once: both of the agent's process, or of the way to the API."""
    groups = ("agent", "memory"), ("api", "etcd"), ("table of", "api", "etcd"), ("node gets", "api", "etcd")
    return any(all(any(word in fault.name for word in group) for fault in (one, other)) for group in groups)


def walk_once(
    programs: Path, home: Path, seed: int, tell: Callable[[str, str], object], how: Callable[[Walk], object]
) -> Walk:
    """Build the rig, walk, and see whether anything is left when all clients have gone."""
    with built(programs, home) as rig, Churn(rig, seed).at_work() as churn:
        with Crowd(rig, seed) as crowd:
            walk = Walk(rig, churn, crowd, seed, tell)
            how(walk)
        if not walk.outcome.interrupted:
            walk.nobody_left()
    return walk
