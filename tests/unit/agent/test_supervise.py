"""Whatever runs in the agent is begun again when it fails, and is named when it does not run."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
import weakref

import pytest

from socklb.agent import supervise
from socklb.agent.supervise import Supervisor
from socklb.report import RunningFacts
from tests.support.waiting import until_async
from tests.unit.agent.following import story


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "socklb")
    for name in ("FIRST_PAUSE", "LONGEST_PAUSE", "SETTLED"):
        monkeypatch.setattr(supervise, name, 0.01)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == supervise.__name__]


@story
async def test_a_pass_that_raises_is_told_once_and_followed_by_the_next(caplog: pytest.LogCaptureFixture) -> None:
    supervisor, passes = Supervisor(), 0

    def act() -> None:
        nonlocal passes
        passes += 1
        if passes < 4:
            raise ValueError("leading zeros")

    supervisor.every("routes", 0.01, act)
    async with supervisor.at_work():
        await until_async(lambda: passes == 3)
        (problem,) = supervisor.problems
        assert (problem.message, problem.times) == ("routes: ValueError: leading zeros", 3)
        await until_async(lambda: passes > 4)
        assert supervisor.problems == []
    told = lines(caplog)
    assert len(told) == 2
    assert told[0].startswith("routes: failed at test_supervise.py:")
    assert told[1] == "routes: runs again, after 3 failures"


@story
async def test_work_that_raises_or_ends_is_begun_again(caplog: pytest.LogCaptureFixture) -> None:
    supervisor, begun = Supervisor(), 0

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise RuntimeError("inotify")
        if begun > 2:
            await asyncio.Event().wait()

    supervisor.keep("source", work)
    async with supervisor.at_work():
        await until_async(lambda: begun == 3)
        await until_async(lambda: not supervisor.problems)
    assert [line.partition("; ")[0].partition(" at ")[0] for line in lines(caplog)] == [
        "source: failed",
        "source: failed: it ended",
        "source: runs again, after 2 failures",
    ]


class Held:
    """What a failing pass has in its hands."""


@story
async def test_what_failed_is_free_at_once_and_waits_for_no_collection() -> None:
    """Its traceback holds every frame, with sets of all sockets of a node in them."""
    supervisor, held = Supervisor(), list[weakref.ref[Held]]()

    async def work() -> None:
        mine = Held()
        held.append(weakref.ref(mine))
        raise RuntimeError("of many")

    supervisor.keep("sockets", work)
    gc.disable()
    try:
        async with supervisor.at_work():
            await until_async(lambda: len(held) > 3)
            assert [one() for one in held[:2]] == [None, None]
    finally:
        gc.enable()


@story
async def test_what_is_gone_is_not_alive_and_names_itself() -> None:
    supervisor = Supervisor()
    supervisor.keep("source", asyncio.Event().wait)
    supervisor.watch(lambda: [RunningFacts("Node", alive=False)])
    async with supervisor.at_work():
        assert [one.name for one in supervisor.running if not one.alive] == ["Node"]
        next(task for task in asyncio.all_tasks() if task.get_name() == "source").cancel()
        await until_async(lambda: not supervisor.running[0].alive)
        assert supervisor.running[0].error == "it is gone"


@pytest.mark.parametrize("error", ["", "no luck"], ids=["hangs", "fails again and again"])
@story
async def test_what_hangs_or_fails_for_a_minute_is_not_alive(monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    monkeypatch.setattr(supervise, "PATIENCE", 0.05)

    async def act() -> None:
        if error:
            raise OSError(error)
        await asyncio.Event().wait()

    supervisor = Supervisor()
    supervisor.every("look", 0.01, act)
    async with supervisor.at_work():
        await asyncio.sleep(0)
        assert supervisor.running[0].alive
        expected = (False, f"OSError: {error}" if error else "no sign of life for 0 s")
        await until_async(lambda: (supervisor.running[0].alive, supervisor.running[0].error) == expected)


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "repeated"])
@story
async def test_what_fails_where_not_even_the_failure_can_be_noted_runs_on(
    monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    """Where memory ends, whatever handles its end may lack it too."""
    begun = 0

    async def act() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise MemoryError
        if kept:
            await asyncio.Event().wait()

    noted = supervise.Charge.failed

    def failed(charge: supervise.Charge, error: Exception, pause: float) -> None:
        if begun == 1:
            raise MemoryError
        noted(charge, error, pause)

    monkeypatch.setattr(supervise.Charge, "failed", failed)
    supervisor = Supervisor()
    if kept:
        supervisor.keep("source", act)
    else:
        supervisor.every("source", 0.01, act)
    async with supervisor.at_work():
        await until_async(lambda: begun > 1)
        await until_async(lambda: supervisor.running[0].alive and not supervisor.running[0].error)


@pytest.mark.parametrize("step", [-3600, 3600], ids=["back", "forward"])
@story
async def test_a_clock_that_is_set_makes_no_failure_older(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    def act() -> None:
        raise OSError("no luck")

    supervisor = Supervisor()
    supervisor.every("look", 0.01, act)
    async with supervisor.at_work():
        await until_async(lambda: supervisor.running[0].failures > 0)
        real = time.time
        monkeypatch.setattr("socklb.agent.supervise.time.time", lambda: real() + step)
        now = supervisor.running[0]
        assert now.alive
        assert now.since is not None
        assert 0 <= time.time() - now.since < supervise.PATIENCE


@story
async def test_what_takes_its_cancellation_for_a_failure_holds_up_no_end() -> None:
    async def act() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise OSError("as a clean-up that fails in its place") from None

    supervisor = Supervisor()
    supervisor.every("look", 0.01, act)
    async with asyncio.timeout(3):
        async with supervisor.at_work():
            await asyncio.sleep(0.05)
