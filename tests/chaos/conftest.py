"""A walk as a test has it: with the same seed each time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos import timeline
from tests.chaos.walk import Walk, walk_once
from tests.kube.conftest import control_plane_programs

SEED = 1
DoWalk = Callable[[Callable[[Walk], object]], Walk]


@pytest.fixture
def walk(tmp_path: Path) -> DoWalk:
    def walk(how: Callable[[Walk], object]) -> Walk:
        with (tmp_path / "walk.jsonl").open("w") as log:
            return walk_once(control_plane_programs(), tmp_path, SEED, timeline.writer(log), how)

    return walk
