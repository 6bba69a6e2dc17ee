"""The packet path beside the sockets: a thread of its own, so that it never holds up a change for them.

    path = PacketPath(config)
    async with path.kept_whole():
        path.sync(frontends, addresses)     # once everything was read; returns at once
        path.apply(difference)
        path.after(lambda: ...)             # called in the event loop when all of that is written, or was refused
        path.facts

A failure is one line in the log and a problem in `socklb status` until it is over; what failed is tried again, the
longer it fails the more seldom. The table is looked at every 10 seconds, and made whole if somebody damaged it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress

from msgspec import structs

from socklb.api.source import Problem
from socklb.config import Config
from socklb.datapath.view import Fill
from socklb.errors import SocklbError, reason
from socklb.packets import ruleset
from socklb.packets.backlog import Backlog
from socklb.packets.packets import Packets
from socklb.report import PacketFacts, RunningFacts
from socklb.serving import Addresses, Difference, Frontend, Serving
from socklb.supervise import of_thread

EVERY = 10.0  # seconds
RETRY = 1.0  # seconds; twice as long after each failure
LONGEST = 60.0
STOPPING = 3.0  # seconds that the end waits for what is being written
STUCK = 300.0  # seconds for one piece of work; a million elements take two minutes

log = logging.getLogger(__name__)


class PacketPath:
    """See the module. With `packet_path = false` in the configuration it does nothing."""

    def __init__(self, config: Config) -> None:
        """Load nftables; the node's rules are not touched yet. Without libnftables sockets alone are served."""
        self._packets: Packets | None = None
        self._facts = PacketFacts(config.packets_by == "nftables", there=False, whole=False, since=time.time())
        self._backlog = Backlog()
        self._wake = threading.Condition()
        self._closing = self._asked = self._mending = False
        self._thread: threading.Thread | None = None
        self._busy: float | None = None  # since when one piece of work goes on (monotonic)
        self._failures = 0
        if config.packets_by == "nftables":
            try:
                self._packets = Packets(config.pod_cidrs, config.native_cidrs, self._damaged)
            except SocklbError as error:
                self._fail(error)

    @property
    def facts(self) -> PacketFacts:
        """How the table is now. One that somebody may have changed is looked at by the thread, at once."""
        facts, packets = self._facts, self._packets
        if packets is None:
            return facts
        try:
            found, untouched = ruleset.read(), packets.untouched
        except OSError as error:
            return _with(facts, there=None, whole=None, error=facts.error or reason(error))
        if not untouched:
            self._look_now()
        there = found is not None and not found.asleep
        writing = self._busy is not None and not self._failures and not self._mending  # it serves what it had meanwhile
        whole = there and (packets.served or not packets.synced or writing)
        return _with(facts, there=there, whole=whole, aside=packets.aside)

    @property
    def fills(self) -> list[Fill]:
        """How full its tables are: nftables' have no end."""
        return []

    @property
    def running(self) -> list[RunningFacts]:
        """Its thread."""
        if self._thread is None:
            return []
        return [of_thread("packet path", self._thread, self._busy, STUCK, self._failures)]

    @property
    def problems(self) -> list[Problem]:
        """What is wrong at present."""
        facts = self._facts
        texts = [facts.error, *(self._packets.problems if self._packets else [])]
        if self._mending:
            texts.append(f"somebody changed the rules: {facts.damage}; next: see what else writes nftables here")
        return [Problem("", 0, "", f"packet path: {text}") for text in texts if text]

    def sync(self, frontends: Mapping[Frontend, Serving], addresses: Addresses) -> None:
        """Serve this and nothing else, from now on."""
        self._order(lambda backlog: backlog.sync(frontends, addresses))

    def refuse_in(self, service_cidrs: Iterable[str]) -> None:
        """Refuse what is sent into these networks and is no Service's."""
        networks = tuple(service_cidrs)
        self._order(lambda backlog: backlog.refuse_in(networks))

    def apply(self, difference: Difference) -> None:
        """Bring a difference into the table."""
        self._order(lambda backlog: backlog.apply(difference))

    def tables_moved(self) -> None:
        """Nothing is to be done: nftables reads none of the sockets' tables."""

    def after(self, then: Callable[[], None]) -> None:
        """Call this in the event loop, in order, once everything so far was written or refused."""
        if self._packets is None:
            then()
            return
        loop = asyncio.get_running_loop()

        def call() -> None:
            with suppress(RuntimeError):  # the loop is closed: the agent has ended
                loop.call_soon_threadsafe(then)

        self._order(lambda backlog: backlog.then.append(call))

    def _order(self, order: Callable[[Backlog], None]) -> None:
        if self._packets:
            with self._wake:
                order(self._backlog)
                self._wake.notify()

    def _look_now(self) -> None:
        with self._wake:
            self._asked = True
            self._wake.notify()

    @asynccontextmanager
    async def kept_whole(self) -> AsyncGenerator[None]:
        """Write, and look after the table, while the block runs; afterwards it goes on serving."""
        if self._packets:
            work = self._work
            self._thread = threading.Thread(target=work, args=(self._packets,), name="packet-path", daemon=True)
            self._thread.start()
        try:
            yield
        finally:
            await self._close()

    async def _close(self) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._packets and self._thread:
            await asyncio.to_thread(self._thread.join, STOPPING)
            if not self._thread.is_alive():  # else it ends with the process: a transaction is written or not
                self._packets.close()

    def _work(self, packets: Packets) -> None:
        look = time.monotonic() + EVERY
        while True:
            with self._wake:
                self._wake.wait_for(self._has_work, max(0.0, look - time.monotonic()))
                backlog, self._backlog = self._backlog, Backlog()
                if self._closing and not backlog:
                    return
                asked, self._asked = self._asked and not self._failures, False
            if backlog:
                self._try(lambda backlog=backlog: backlog.bring(packets), packets)
            if asked or time.monotonic() >= look:
                self._try(packets.repair, packets)
                look = time.monotonic() + EVERY
            if self._failures:
                look = time.monotonic() + min(RETRY * 2 ** (self._failures - 1), LONGEST)
            for then in backlog.then:
                then()

    def _has_work(self) -> bool:
        return bool(self._backlog) or self._closing or (self._asked and not self._failures)

    def _try(self, work: Callable[[], object], packets: Packets) -> None:
        """Whatever goes wrong must not end the thread: it is told, and tried again."""
        self._busy = time.monotonic()
        try:
            work()
        except Exception as error:  # noqa: BLE001
            self._fail(error)
        else:
            self._heal(packets)
        self._busy = None

    def _damaged(self, damage: str) -> None:
        log.warning("packet path: somebody changed the rules: %s; they are made anew", damage)
        facts, self._mending = self._facts, True
        self._facts = _with(facts, damages=facts.damages + 1, damage=damage, damaged=time.time())

    def _fail(self, error: Exception) -> None:
        self._failures = min(self._failures + 1, 10)
        facts, text = self._facts, reason(error)
        if text != facts.error:
            log.error("packet path: %s", text)
        self._facts = _with(facts, error=text, since=facts.since if facts.error else time.time())

    def _heal(self, packets: Packets) -> None:
        if packets.synced and packets.lags:
            return  # this piece of work did not touch what failed before
        self._mending, self._failures, facts = False, 0, self._facts
        if facts.error:
            log.info("packet path: it works again")
            self._facts = _with(facts, error="", since=time.time())


def _with(facts: PacketFacts, **changed: object) -> PacketFacts:
    return structs.replace(facts, **changed)
