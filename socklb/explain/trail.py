"""What an explanation is made of: one step after the other, each with what was read, then a verdict.

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
    """One thing that is looked at: by which program, in which table, under which key, and what is there."""

    at: str
    table: str
    key: str
    value: str


class Verdict(NamedTuple):
    """What becomes of it: one of the words above, by whom, and why. backends: whom it may be given; chosen: how."""

    outcome: str
    by: str
    why: str
    backends: tuple[Backend, ...] = ()
    chosen: str = ""


class Trail:
    """The steps so far, of the program that is at work."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.at = ""

    def step(self, table: str, key: str, value: str) -> None:
        """Note what was found."""
        self.steps.append(Step(self.at, table, key, value))

    def end(self, outcome: str, why: str, backends: Sequence[Backend] = (), chosen: str = "") -> Verdict:
        """Return the verdict of the program that is at work."""
        return Verdict(outcome, self.at, why, tuple(backends), chosen)
