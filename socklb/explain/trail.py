"""The parts of an explanation: steps, each with what was read, then a verdict.

trail = Trail()
trail.at = "connect4"
trail.step("frontends", "10.96.0.10:80/TCP", "row 7")
return trail.end(REFUSED, "nobody serves it")
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from socklb.model import Backend

TRANSLATED, REFUSED, PASSED, DROPPED, UNKNOWN = "translated", "refused", "passed", "dropped", "unknown"
AT_RANDOM, LESS_LOADED, KEPT = "at random", "the less loaded of two at random", "kept"


class Step(NamedTuple):
    """One lookup: by which program, in which table, under which key, and the result."""

    at: str
    table: str
    key: str
    value: str


class Verdict(NamedTuple):
    """The result: one of the words above, by which program, and why. backends: possible backends; chosen: how one is
    chosen.
    """

    outcome: str
    by: str
    why: str
    backends: tuple[Backend, ...] = ()
    chosen: str = ""


class Trail:
    """The steps so far. `at` is the program that is being followed."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.at = ""

    def step(self, table: str, key: str, value: str) -> None:
        """Add a step."""
        self.steps.append(Step(self.at, table, key, value))

    def end(self, outcome: str, why: str, backends: Sequence[Backend] = (), chosen: str = "") -> Verdict:
        """Return the verdict of the program that is being followed."""
        return Verdict(outcome, self.at, why, tuple(backends), chosen)
