"""Short walks for `make test`: one that must find nothing, and one that is lied to and must find it."""

from __future__ import annotations

import time
from pathlib import Path

from labs.engine.target import Target
from tests.chaos.cluster.faults import FAULTS
from tests.chaos.cluster.walk import walk_on
from tests.chaos.faults import Fault
from tests.chaos.walk import Walk

SECONDS = 10.0
SEED = 1
MANY = 300  # connects and datagrams


def agents_killed(target: Target, home: Path) -> None:
    """Walk with all agents killed again and again, and find nothing."""
    walked = _walk(target, home, FAULTS["all agents killed"])
    assert walked.outcome.violations == []
    assert walked.outcome.steps >= 1
    assert walked.oracle.connects > MANY
    assert all(last.answered for last in walked.crowd.last.values()), walked.crowd.last


def a_lie_is_found(target: Target, home: Path) -> None:
    """Claim that a version without endpoints that answer was applied: their answers are violations."""

    def lie(walk: Walk) -> None:
        walk.churn.rate = 0.0
        walk.run(0, [])
        now = time.monotonic()
        for versions in walk.churn.histories.values():  # type: ignore[attr-defined]
            for each in versions.versions.values():
                each.sent(now, frozenset({"nobody:0:4"}))
                each.created(each.applied_generation)
                each.reported(each.applied_generation, now)
        walk.run(2, [Fault("nothing", lambda _rig, _chance: None, holds=False)])

    walked = walk_on(target, home, SEED, _tell, lie)
    assert any(violation.startswith("removed: ") for violation in walked.outcome.violations)


def _walk(target: Target, home: Path, fault: Fault) -> Walk:
    return walk_on(target, home, SEED, _tell, lambda walk: walk.run(SECONDS, [fault]))


def _tell(what: str, text: str) -> None:
    print(what, text)
