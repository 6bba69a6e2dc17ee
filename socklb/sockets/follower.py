"""Connected UDP sockets follow their Service: when a backend leaves it, its sockets get another one.

    follower = Follower(maps, lambda: hooks.attached, hooks_at_work)
    supervisor.keep("sockets", follower.follow)
    follower.changed(frontends)         # the tables were changed: costs next to nothing
    follower.done                       # for the report

It compares the records of sockets with the tables, not one state of the cluster with another: the first pass, which
covers all frontends, also finds backends that left while no agent ran. A Service without any backend keeps its sockets
until it has one again. TCP is left alone, as by kube-proxy. A pass runs in a thread of its own and delays no change of
the tables.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from socket import IPPROTO_UDP

from socklb.model import ANY4, ANY6, Frontend
from socklb.sockets.moving import WAYS, Mover
from socklb.sockets.records import Record, Records
from socklb.sockets.served import Served

UNATTACHED = 1.0  # seconds between two checks whether the hooks are at work


class Follower:
    """See the module. `ready`: whether the hooks were attached; `at_work`: whether the kernel runs them now."""

    def __init__(self, maps: Path, ready: Callable[[], bool], at_work: Callable[[], bool]) -> None:
        """Start without a pass."""
        self._maps, self._ready, self._at_work = maps, ready, at_work
        self._changed: set[Frontend] = set()
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "sockets")
        self.done: Counter[str] = Counter(dict.fromkeys(WAYS, 0))

    def changed(self, frontends: Iterable[Frontend]) -> None:
        """Note that these frontends may have other backends than before."""
        self._changed.update(one for one in frontends if one.protocol == IPPROTO_UDP)
        if self._changed:
            self._wake.set()

    async def follow(self) -> None:
        """Make a pass after each change. A pass that fails is repeated."""
        while True:
            await self._wake.wait()
            while not self._ready():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(UNATTACHED)
            self._wake.clear()
            now, self._changed = self._changed, set()
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._pass, now)
            except Exception:
                self.changed(now)
                raise

    def _pass(self, frontends: set[Frontend]) -> None:
        with ExitStack() as opened:
            records = opened.enter_context(closing(Records(self._maps)))
            served = opened.enter_context(closing(Served(self._maps)))

            def is_stale(record: Record) -> bool:
                backends = served.backends(record.asked, IPPROTO_UDP)
                return bool(backends) and record.given not in backends

            def is_stale_now(record: Record) -> bool:
                """Return whether it is stale. The tables change during a pass: a removed backend may serve again."""
                served.forget()
                return is_stale(record)

            addresses = {frontend.address for frontend in frontends}
            asked = records.slots() if addresses & {ANY4, ANY6} else records.asked_for(addresses)
            stale = {cookie: record for cookie, record in asked.items() if is_stale(record)}
            if stale or records.spilled:
                mover = Mover(records, is_stale_now, self.done, self._at_work)
                opened.enter_context(closing(mover)).move(stale)
