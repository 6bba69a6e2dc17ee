"""When an agent counts as healthy, and which trigger times are measured."""

import json
import time
from typing import Any

import pytest
from msgspec import structs

from socklb.api.marks import TRIGGERED
from socklb.api.source import Batch
from socklb.health import proxy_health
from socklb.health.progress import LATE, Progress
from socklb.report import Report
from tests.unit.agent.shapes import present, the_slice

SYNC = Batch((), complete=True)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clock that the test moves, for a minute is long."""
    moved = [0.0]
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + moved[0])
    return lambda seconds: moved.__setitem__(0, moved[0] + seconds)


def report(progress: Progress) -> Report:
    return Report(synced=progress.synced, late=progress.late)


def status(progress: Progress) -> tuple[int, int]:
    found = report(progress)
    return proxy_health.livez(found, progress).status, proxy_health.healthz(found, progress).status


def test_before_everything_was_read_once_it_is_not_healthy() -> None:
    progress = Progress()
    assert status(progress) == (503, 503)
    assert json.loads(proxy_health.livez(report(progress), progress).body)["lastUpdated"] is None
    progress.begin()
    progress.applied(Batch((), complete=False))
    assert status(progress) == (503, 503)
    progress.begin()
    progress.applied(SYNC)
    assert status(progress) == (200, 200)


def test_a_change_that_cannot_be_applied_is_told_after_a_while_and_until_one_can(clock: Any) -> None:
    progress = Progress()
    progress.begin()
    progress.applied(SYNC)
    progress.begin()  # and it fails
    clock(LATE - 1)
    assert status(progress) == (200, 200)
    progress.begin()  # so does the next one: the first still counts
    clock(2)
    assert status(progress) == (503, 503)
    body = json.loads(proxy_health.healthz(report(progress), progress).body)
    assert body["lastUpdated"] < body["currentTime"]
    progress.begin()
    progress.applied(SYNC)
    assert status(progress) == (200, 200)


def test_with_nothing_to_do_it_stays_healthy(clock: Any) -> None:
    progress = Progress()
    progress.begin()
    progress.applied(SYNC)
    clock(10 * LATE)
    assert status(progress) == (200, 200)


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("2099-01-01T00:00:00.123456789Z", 1),
        ("2020-01-01T00:00:00Z", 0),
        ("", 0),
        ("yesterday", 0),
        ("2099-01-01T00:00:00", 0),
    ],
    ids=["after the agent's start", "before it", "none", "no time", "no time zone"],
)
def test_trigger_times_that_are_measured(text: str, counted: int) -> None:
    progress = Progress()
    slice_ = the_slice()
    slice_ = structs.replace(slice_, metadata=structs.replace(slice_.metadata, annotations={TRIGGERED: text}))
    progress.begin()
    progress.applied(Batch(present(slice_), complete=True))
    assert _count(progress) == counted


def _count(progress: Progress) -> float:
    (family,) = progress.programming_duration.collect()
    return next(sample.value for sample in family.samples if sample.name.endswith("_count"))
