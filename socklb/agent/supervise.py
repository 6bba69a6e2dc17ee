"""One supervisor runs everything in the agent, except the answer to a single question.

    supervisor = Supervisor()
    supervisor.keep("source", agent.follow)                  # started again when it fails or ends
    supervisor.every("node routes", 10, routes.repair)       # a pass that fails is followed by the next one
    supervisor.watch(lambda: packets.running)                # threads that others started, and what they report
    async with supervisor.at_work():
        …
    supervisor.running                                       # for the report

Any exception is a failure: one log line for each change of state, a problem while it lasts, and another try after a
pause that grows to half a minute, or less where somebody waits. A task that has ended, gives no sign of life, or fails
for a minute is not alive, and /livez fails. Nothing here ends the agent.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from socklb.api.source import Problem
from socklb.clock import time_of_day
from socklb.errors import SocklbError, reason
from socklb.report import RunningFacts

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds
SETTLED = 5.0  # seconds that a task must run after a failure to count as healthy again
ENDING = 5.0  # seconds that the agent waits for all tasks when it ends
PATIENCE = 60.0  # seconds of failures, or without a sign of life, after which a task is not alive

log = logging.getLogger(__name__)


class EndedError(SocklbError):
    """A task that should run as long as the agent has ended."""


Act = Callable[[], Awaitable[object] | object]


class Charge:
    """One supervised task, and its state."""

    def __init__(self, name: str, act: Act, longest: float = LONGEST_PAUSE) -> None:
        """Start in a healthy state; `act` is what is awaited or called."""
        self.name, self.longest = name, longest
        self.act = act
        self.task: asyncio.Task[None] | None = None  # None: not started yet
        self.failures = 0  # since it was last healthy
        self.error = ""
        self._since: float | None = None  # monotonic: the first failure since then
        self.ending = False
        self._sign: float | None = None  # monotonic: the last sign of life; None: none is expected

    def expect(self, seconds: float) -> None:
        """Expect the next sign of life in this many seconds, plus PATIENCE at most."""
        self._sign = time.monotonic() + seconds

    def well(self) -> None:
        """Note that a pass is complete, or that the task has run for a while."""
        if self.failures:
            log.info("%s: runs again, after %d failures", self.name, self.failures)
        self.failures, self.error, self._since = 0, "", None

    def failed(self, error: Exception, pause: float) -> None:
        """Note a failure; log it if it is the first one or differs from the one before."""
        text = reason(error)
        if text != self.error:
            log.error("%s: failed%s: %s; next try in %.1f s", self.name, _place(error), text, pause)
            log.debug("%s: failed", self.name, exc_info=error)
        self.failures += 1
        self.error = text
        self._since = self._since or time.monotonic()

    @property
    def facts(self) -> RunningFacts:
        """Return its state now. Threads may call this."""
        gone = self.task is not None and self.task.done()
        sign = self._sign
        stuck = sign is not None and time.monotonic() - sign > PATIENCE
        lasting = self._since is not None and time.monotonic() - self._since > PATIENCE
        error = self.error
        if gone:
            error = "it is gone" + (f": {error}" if error else "")
        elif stuck:
            error = f"no sign of life for {PATIENCE:.0f} s"
        since = None if self._since is None else time_of_day(self._since)
        return RunningFacts(self.name, not (gone or stuck or lasting), self.failures, since, error)


class Supervisor:
    """See the module."""

    def __init__(self) -> None:
        """Start with nothing to run."""
        self._charges: list[tuple[Charge, float | None]] = []
        self._watched: list[Callable[[], Iterable[RunningFacts]]] = []

    def keep(self, name: str, work: Callable[[], Awaitable[object]], longest: float = LONGEST_PAUSE) -> None:
        """Run work that never ends by itself; start it again if it does, after `longest` seconds at most."""
        self._charges.append((Charge(name, work, longest), None))

    def every(self, name: str, seconds: float, act: Act) -> None:
        """Do something at once, and again this many seconds after it is done."""
        self._charges.append((Charge(name, act), seconds))

    def watch(self, threads: Callable[[], Iterable[RunningFacts]]) -> None:
        """Include in the report what others run."""
        self._watched.append(threads)

    @property
    def running(self) -> list[RunningFacts]:
        """Return everything that should run, and its state. Threads may call this."""
        return [*(charge.facts for charge, _ in self._charges), *(one for ask in self._watched for one in ask())]

    @property
    def problems(self) -> list[Problem]:
        """Return what fails and is tried again; a task that has ended is an alarm."""
        failing = (one for one in self.running if one.alive and one.error)
        return [Problem("", 0, "", f"{one.name}: {one.error}", name=one.name, times=one.failures) for one in failing]

    @asynccontextmanager
    async def at_work(self) -> AsyncGenerator[None]:
        """Run everything while the block runs."""
        for charge, seconds in self._charges:
            charge.task = asyncio.create_task(_always(charge, seconds), name=charge.name)
        try:
            yield
        finally:
            for charge, _ in self._charges:
                charge.ending = True
            await _end([charge.task for charge, _ in self._charges if charge.task])


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """End tasks. A task that takes its cancellation for a failure is cancelled again, until ENDING is over."""
    end = time.monotonic() + ENDING
    left = set(tasks)
    while left and time.monotonic() < end:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.2)
    for task in left:
        log.error("%s: did not end in %.0f s", task.get_name(), ENDING)


async def _always(charge: Charge, seconds: float | None) -> None:
    """Run it, whatever fails: where memory ends, what handles the failure and waits for the next try lacks it too."""
    while not charge.ending:
        try:
            await (_keep(charge) if seconds is None else _repeat(charge, seconds))
        except Exception as error:  # noqa: BLE001 - as below
            charge.failures, charge.error = charge.failures + 1, type(error).__name__
        with suppress(Exception):
            await asyncio.sleep(FIRST_PAUSE)


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
        pause = min(charge.longest, FIRST_PAUSE * 2 ** min(charge.failures, 10))
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
        await asyncio.wait({task}, timeout=SETTLED)
        if not task.done():
            charge.well()
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        del task  # a failed one, its traceback and this frame would be a cycle, with all that its frames hold


def _place(error: Exception) -> str:
    """Return where an exception of an unknown type was raised: it has only one line in the log."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SocklbError) or not frames:
        return ""
    return f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}"
