"""Reset connections to removed endpoints, for Services with `socklb.io/on-removal: reset`, so that nobody waits for
them.

    resetter = Resetter(maps, packets.reset)
    resetter.note(state, plan, services)        # these changed: what they ask for, and all their endpoints
    supervisor.every("on-removal", EVERY, resetter.look)
    resetter.done                               # for the report

An endpoint is removed when it is in no EndpointSlice of the Service, in whatever condition; one that is terminating,
not ready or not chosen is not removed. A controller may move endpoints from one slice to another, so it must be absent
for SETTLE. The record decides, as for UDP (`sockets.moving`), and records are compared with the present state: the
first pass also finds endpoints that were removed while no agent ran. Flows of the packet path are reset too.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from socket import IPPROTO_TCP

from socklb.desired.annotations import resets
from socklb.desired.endpoints import conditions
from socklb.desired.plan import Plan
from socklb.desired.store import ObjectStore
from socklb.model import ANY4, ANY6, Backend, Frontend
from socklb.sockets.ending import Ending, IsGone
from socklb.sockets.records import Records
from socklb.sockets.served import Served

SETTLE = 0.5  # seconds
EVERY = 0.25
SOCKET, FLOW, LEFT = KINDS = "socket", "flow", "left"


class Resetter:
    """See the module. `reset_flows` is called with the same judgement, and returns how many flows it reset."""

    def __init__(self, maps: Path, reset_flows: Callable[[IsGone], int]) -> None:
        """Start without any Service."""
        self._maps, self._reset_flows = maps, reset_flows
        self._endpoints: dict[str, dict[Frontend, frozenset[Backend]]] = {}  # by Service
        self._since: float | None = None  # when the last unprocessed change came
        self._left: set[int] = set()  # sockets that could not be reset: they are counted once
        self.done: Counter[str] = Counter(dict.fromkeys(KINDS, 0))

    def note(self, state: ObjectStore, plan: Plan, services: Iterable[str]) -> None:
        """Record all endpoints of those Services that ask for resets."""
        for key in services:
            service, planned = state.services.get(key), plan.services.get(key)
            if service is None or planned is None or not resets(service):
                self._endpoints.pop(key, None)
                continue
            known = frozenset(conditions(state.slices(key)))
            held = (one for one in planned.frontends if one.protocol == IPPROTO_TCP and plan.holder(one) == key)
            self._endpoints[key] = dict.fromkeys(held, known)
            self._since = time.monotonic()

    async def look(self) -> None:
        """Reset what is to be reset, once the changes have settled."""
        if self._since is None or time.monotonic() - self._since < SETTLE:
            return
        since, endpoints = self._since, {f: known for one in self._endpoints.values() for f, known in one.items()}
        if endpoints:
            await asyncio.to_thread(self._reset, endpoints)
        if self._since == since:
            self._since = None

    def _reset(self, endpoints: Mapping[Frontend, frozenset[Backend]]) -> None:
        with ExitStack() as opened:
            records = opened.enter_context(closing(Records(self._maps)))
            served = opened.enter_context(closing(Served(self._maps)))

            def is_gone(asked: Backend, given: Backend) -> bool:
                by = served.frontend(asked, IPPROTO_TCP)
                known = endpoints.get(by) if by else None
                return known is not None and given not in known

            addresses = {frontend.address for frontend in endpoints}
            asked = records.slots() if addresses & {ANY4, ANY6} else records.asked_for(addresses)
            gone = {cookie: record for cookie, record in asked.items() if is_gone(*record)}
            if gone or records.spilled:
                ending = Ending(records, is_gone)
                ending.end(gone)
                self._note(ending)
            self.done[FLOW] += self._reset_flows(is_gone)

    def _note(self, ending: Ending) -> None:
        left = ending.refused - self._left
        self._left |= left
        self.done[SOCKET] += ending.count
        self.done[LEFT] += len(left)
