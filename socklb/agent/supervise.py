"""Everything that runs in the agent besides the answer to a question runs under one supervisor.

    supervisor = Supervisor()
    supervisor.keep("source", agent.follow)                  # begun again when it fails or ends
    supervisor.every("node routes", 10, routes.repair)       # a pass that fails is followed by the next one
    supervisor.watch(source.threads)                         # threads that others started, which tell of themselves
    async with supervisor.at_work():
        …
    supervisor.running                                       # for the report

Any exception is a failure: one line in the log for each change of state, a problem while it stands, and another try
after a pause that grows to half a minute. What is gone, gives no sign of life or fails for a minute is not alive: that
fails /livez. Nothing here ends the agent.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from socklb.api.source import Problem
from socklb.errors import SocklbError, reason
from socklb.report import RunningFacts

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds
SETTLED = 5.0  # seconds that something must run after a failure to count as well again
ENDING = 5.0  # seconds that the end of the agent waits for all
PATIENCE = 60.0  # seconds of failures, or without a sign of life, after which it is not alive

log = logging.getLogger(__name__)


class EndedError(SocklbError):
    """What should run for as long as the agent came to an end."""


Act = Callable[[], Awaitable[object] | object]


class Charge:
    """One thing that runs, and how it fares."""

    def __init__(self, name: str, act: Act) -> None:
        """Begin as well; `act` is what is awaited or called."""
        self.name = name
        self.act = act
        self.task: asyncio.Task[None] | None = None  # None: not begun yet
        self.failures = 0  # since it was well last
        self.error = ""
        self.since: float | None = None
        self.ending = False
        self._sign: float | None = None  # monotonic: the last sign of life; None: none is expected

    def expect(self, seconds: float) -> None:
        """The next sign of life comes in so many seconds, and PATIENCE at most."""
        self._sign = time.monotonic() + seconds

    def well(self) -> None:
        """A pass came to its end, or it has run for a while."""
        if self.failures:
            log.info("%s: runs again, after %d failures", self.name, self.failures)
        self.failures, self.error, self.since = 0, "", None

    def failed(self, error: Exception, pause: float) -> None:
        """Note a failure; tell it if it is the first, or another one than before."""
        text = reason(error)
        if text != self.error:
            log.error("%s: failed%s: %s; next try in %.1f s", self.name, _place(error), text, pause)
            log.debug("%s: failed", self.name, exc_info=error)
        self.failures += 1
        self.error = text
        self.since = self.since or time.time()

    @property
    def facts(self) -> RunningFacts:
        """How it is now. Threads may ask."""
        gone = self.task is not None and self.task.done()
        sign = self._sign
        stuck = sign is not None and time.monotonic() - sign > PATIENCE
        lasting = self.since is not None and time.time() - self.since > PATIENCE
        error = self.error
        if gone:
            error = "it is gone" + (f": {error}" if error else "")
        elif stuck:
            error = f"no sign of life for {PATIENCE:.0f} s"
        return RunningFacts(self.name, not (gone or stuck or lasting), self.failures, self.since, error)


class Supervisor:
    """See the module."""

    def __init__(self) -> None:
        """Begin with nothing to look after."""
        self._charges: list[tuple[Charge, float | None]] = []
        self._watched: list[Callable[[], Iterable[RunningFacts]]] = []

    def keep(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Have work that never ends of itself, and begin it again when it does."""
        self._charges.append((Charge(name, work), None))

    def every(self, name: str, seconds: float, act: Act) -> None:
        """Do something at once, and again so many seconds after it was done."""
        self._charges.append((Charge(name, act), seconds))

    def watch(self, threads: Callable[[], Iterable[RunningFacts]]) -> None:
        """Tell of what runs elsewhere, too."""
        self._watched.append(threads)

    @property
    def running(self) -> list[RunningFacts]:
        """All that should run, and how it is. Threads may ask."""
        return [*(charge.facts for charge, _ in self._charges), *(one for ask in self._watched for one in ask())]

    @property
    def problems(self) -> list[Problem]:
        """What fails and is tried again; what is gone is an alarm."""
        failing = (one for one in self.running if one.alive and one.error)
        return [Problem("", 0, "", f"{one.name}: {one.error}", name=one.name, times=one.failures) for one in failing]

    @asynccontextmanager
    async def at_work(self) -> AsyncGenerator[None]:
        """Run everything while the block runs."""
        for charge, seconds in self._charges:
            run = _keep(charge) if seconds is None else _repeat(charge, seconds)
            charge.task = asyncio.create_task(run, name=charge.name)
        try:
            yield
        finally:
            for charge, _ in self._charges:
                charge.ending = True
            await _end([charge.task for charge, _ in self._charges if charge.task])


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """End tasks. One that takes its cancellation for a failure is told again, and not for ever."""
    end = time.monotonic() + ENDING
    left = set(tasks)
    while left and time.monotonic() < end:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.2)
    for task in left:
        log.error("%s: did not end in %.0f s", task.get_name(), ENDING)


async def _repeat(charge: Charge, seconds: float) -> None:
    while not charge.ending:
        charge.expect(0)
        try:
            done = charge.act()
            if inspect.isawaitable(done):
                await done
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end what looks after the node
            charge.failed(error, seconds)
        else:
            charge.well()
        charge.expect(seconds)
        await asyncio.sleep(seconds)


async def _keep(charge: Charge) -> None:
    while not charge.ending:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(charge.failures, 10))
        try:
            await _run_until_it_ends(charge)
            charge.failed(EndedError("it ended"), pause)
        except Exception as error:  # noqa: BLE001 - as above
            charge.failed(error, pause)
        await asyncio.sleep(pause)


async def _run_until_it_ends(charge: Charge) -> None:
    work = charge.act()
    if not inspect.isawaitable(work):
        raise TypeError(f"{charge.name} gave {type(work).__name__} and nothing to wait for")
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=SETTLED)
        if not done:
            charge.well()
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _place(error: Exception) -> str:
    """Return where an exception that is none of ours came from: the log has one line for it."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SocklbError) or not frames:
        return ""
    return f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}"
