"""The agent holds millions of objects for good, and looks through them a few times only."""

from __future__ import annotations

import subprocess
import sys

HOLD = """
import gc
from socklb.memory import collect_less_often
{first}
before = sum(generation["collections"] for generation in gc.get_stats())
held = [[n] for n in range(500_000)]
print(sum(generation["collections"] for generation in gc.get_stats()) - before)
"""


def collections(first: str) -> int:
    """Hold half a million objects in a process of its own; give how often Python looked for garbage meanwhile."""
    return int(subprocess.check_output((sys.executable, "-c", HOLD.format(first=first)), text=True))


def test_half_a_million_new_objects_are_looked_through_a_few_times() -> None:
    assert 1 <= collections("collect_less_often()") <= 10
    assert collections("") > 100
