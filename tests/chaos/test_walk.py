"""A walk that is broken on purpose is found out. The walk itself is `make chaos`."""

from __future__ import annotations

from contextlib import closing
from random import Random

from socklb.datapath import layout
from socklb.datapath.maps import RowTable
from socklb.model import is_ipv4
from tests.chaos.conftest import DoWalk
from tests.chaos.faults import CONVERGE, FAULTS, Fault
from tests.chaos.rig import Rig
from tests.chaos.walk import Walk

ROWS = 512


def exchange_backends(rig: Rig, chance: Random) -> None:
    """Lie: give Services each other's backends, behind the agent's back."""
    with closing(RowTable(rig.pins.maps, "backends", layout.BACKEND_ROW.size)) as table:
        size = table.value_size
        data = table.read(0, ROWS)
        rows = [data[start : start + size] for start in range(0, len(data), size)]
        for of_ipv4 in (True, False):
            taken = [i for i, row in enumerate(rows) if any(row) and is_ipv4(row[:16]) is of_ipv4]
            for index, row in zip(taken, [rows[i] for i in reversed(taken)], strict=True):
                table.write(index, row)


def ctrl_c(rig: Rig, chance: Random) -> None:
    raise KeyboardInterrupt


def test_a_lie_in_a_table_is_found_and_kept_by_a_walk_that_is_interrupted(walk: DoWalk) -> None:
    def how(it: Walk) -> None:
        it.run(CONVERGE, [Fault("a lie", exchange_backends, holds=False)])
        assert not it.outcome.interrupted
        it.run(CONVERGE, [Fault("ctrl-c", ctrl_c)])

    walked = walk(how)
    assert walked.outcome.interrupted
    assert walked.outcome.faults.keys() == {"a lie"}
    assert any(violation.startswith("foreign: ") for violation in walked.outcome.violations)


def test_every_fault_says_what_it_is() -> None:
    assert len(FAULTS) >= 25
    assert all(fault.hurts <= {"socket", "packet", "streams", "agent"} for fault in FAULTS.values())
