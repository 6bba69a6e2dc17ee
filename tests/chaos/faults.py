"""The faults of a walk: each is a small function that does it, and gives what undoes it or None where the agent must.

`hurts` says what may fail while it lasts and until all is well again: asks by `socket` or `packet`, `streams` of any
way, or, by `agent`, changes may be late. `named` is what `socklb status` must say if it lasts for more than ten
seconds; `within`, in how many seconds after its end all must be well; `unseen`, for how many of them it may be unknown
that it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.chaos.rig import Rig

CONVERGE = 15.0  # seconds

Undo = Callable[[], object]
Do = Callable[[Rig, Random], Undo | None]


@dataclass(frozen=True)
class Fault:
    name: str
    do: Do
    hurts: frozenset[str] = frozenset()
    named: str = ""
    weight: float = 1.0
    holds: bool = True  # whether it lasts until it is undone
    within: float = CONVERGE
    unseen: float = 0.0  # seconds for which status may not know yet what it has done


FAULTS: dict[str, Fault] = {}


def fault(
    *hurts: str, named: str = "", weight: float = 1.0, holds: bool = True, within: float = CONVERGE, unseen: float = 0.0
) -> Callable[[Do], Do]:
    """Put a function among the faults, under its name."""

    def add(do: Do) -> Do:
        name = do.__name__.replace("_", " ")
        FAULTS[name] = Fault(name, do, frozenset(hurts), named, weight, holds, within, unseen)
        return do

    return add
