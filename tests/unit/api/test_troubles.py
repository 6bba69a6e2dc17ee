"""socklb/api/troubles.py: what does not work, once, with how often and since when."""

from __future__ import annotations

import pytest

from socklb.api.source import Problem
from socklb.api.troubles import Troubles

NO_PORT = Problem("Kubernetes API", 0, "spec.ports", "missing", "Service/default/web")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("socklb.api.troubles.time.time", lambda: now[0])
    return now


def test_what_is_met_again_is_no_news_and_is_counted(clock: list[float]) -> None:
    troubles: Troubles[str] = Troubles()
    assert troubles.note("web", NO_PORT)
    for _ in range(49):
        clock[0] += 1
        assert not troubles.note("web", NO_PORT)
    (problem,) = troubles.problems
    assert (problem.times, problem.first, problem.last) == (50, 1000.0, 1049.0)


def test_another_reason_is_news_of_the_same_trouble(clock: list[float]) -> None:
    troubles: Troubles[str] = Troubles()
    troubles.note("web", NO_PORT)
    clock[0] += 60
    assert troubles.note("web", NO_PORT._replace(message="twice"))
    (problem,) = troubles.problems
    assert (problem.message, problem.times, problem.first) == ("twice", 2, 1000.0)


def test_what_is_over_is_told_once_and_counts_anew() -> None:
    troubles: Troubles[str] = Troubles()
    troubles.note("web", NO_PORT)
    assert troubles.settle("web") is not None
    assert troubles.settle("web") is None
    assert troubles.problems == ()
    assert troubles.note("web", NO_PORT)
    assert troubles.problems[0].times == 1


def test_several_are_over_at_once() -> None:
    troubles: Troubles[str] = Troubles()
    for name in ("a", "b", "c"):
        troubles.note(name, NO_PORT)
    troubles.settle_where(lambda name: name != "b")
    assert len(troubles.problems) == 1
    assert troubles.get("b") is not None
    assert troubles.get("a") is None


@pytest.mark.parametrize("step", [0.0, -3600.0, 3600.0], ids=["as it went", "set back", "set forward"])
def test_what_was_not_met_for_long_is_over_whatever_the_time_of_day_is(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    passed = [0.0]
    monkeypatch.setattr("socklb.api.troubles.time.monotonic", lambda: passed[0])
    troubles: Troubles[str] = Troubles()
    troubles.note("old", NO_PORT)
    passed[0] += 100
    clock[0] += 100 + step
    troubles.note("new", NO_PORT)
    troubles.settle_older(50)
    assert troubles.get("old") is None
    assert troubles.get("new") is not None
