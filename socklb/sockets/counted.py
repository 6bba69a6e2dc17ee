"""Connections by Service and backend: how many there are now, and how many there have ever been.

    counted = Counted(maps, "top:100", service_at)
    counted.read()                      # [Row]; a thread may call this
    counted.tidy(state)                 # now and then

Ever: the hooks' count of every connect() that they translated to a backend, whether the backend accepted it or not.
Now: sockets by their records, if these have slots. A record does not say whether the socket is TCP or UDP; a NodePort
may belong to one Service for TCP and to another for UDP, and then the hooks' count of that backend decides.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from heapq import nsmallest
from pathlib import Path
from typing import NamedTuple

from socklb.datapath.counts import Connects, Led
from socklb.desired.endpoints import conditions
from socklb.desired.store import ObjectStore
from socklb.model import Backend
from socklb.sockets.records import Records

TOP = "top:"
KEPT = 600.0  # seconds that counts of a removed backend are kept: long enough for every scrape

ServiceAt = Callable[[Backend, int], "str | None"]
Key = tuple[str, Backend]


class Row(NamedTuple):
    """Connections of one Service, NAMESPACE/NAME, to one backend."""

    service: str
    backend: Backend
    ever: int
    now: int


class Counted:
    """See the module. `service_at` returns the Service of an address, port and protocol; threads may call it."""

    def __init__(self, maps: Path, wanted: str | tuple[str, ...], service_at: ServiceAt) -> None:
        """Start counting; `wanted` is the configured value: a list of Services, or how many of the most used ones."""
        self._maps, self._wanted, self._service_at = maps, wanted, service_at
        self._gone: dict[Led, float] = {}  # removed since when

    def read(self) -> list[Row]:
        """Return the rows, ordered by Service."""
        if not self._wanted:
            return []
        ever = self._ever()
        now = self._now(ever)
        chosen = self._chosen(ever + now)
        keys = sorted(key for key in ever.keys() | now.keys() if key[0] in chosen)
        return [Row(*key, ever[key], now[key]) for key in keys]

    def tidy(self, state: ObjectStore) -> None:
        """Delete the counts of backends that no Service has had for a while."""
        with closing(Connects(self._maps)) as connects:
            gone, now = set(self._without_backend(connects.read(), state)), time.monotonic()
            self._gone = {led: self._gone.get(led, now) for led in gone}
            over = [led for led, since in self._gone.items() if now - since >= KEPT]
            connects.forget(over)

    def _ever(self) -> Counter[Key]:
        found: Counter[Key] = Counter()
        with closing(Connects(self._maps)) as connects:
            for (asked, given, protocol), count in connects.read().items():
                if service := self._service_at(asked, protocol):
                    found[service, given] += count
        return found

    def _now(self, ever: Counter[Key]) -> Counter[Key]:
        found: Counter[Key] = Counter()
        with closing(Records(self._maps)) as records:
            for (asked, given), count in records.counted().items():
                by = (self._service_at(asked, protocol) for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP))
                services = [service for service in by if service]
                if services:
                    service = next((one for one in services if (one, given) in ever), services[0])
                    found[service, given] += count
        return found

    def _chosen(self, counts: Counter[Key]) -> set[str]:
        if not isinstance(self._wanted, str):
            return set(self._wanted)
        totals: Counter[str] = Counter()
        for (service, _), count in counts.items():
            totals[service] += count
        most = int(self._wanted.removeprefix(TOP))
        return set(nsmallest(most, totals, key=lambda service: (-totals[service], service)))

    def _without_backend(self, all_led: Iterable[Led], state: ObjectStore) -> Iterator[Led]:
        endpoints: dict[str, frozenset[Backend]] = {}
        for led in all_led:
            service = self._service_at(led.asked, led.protocol)
            if service and service not in endpoints:
                endpoints[service] = frozenset(conditions(state.slices(service)))
            if not service or led.given not in endpoints[service]:
                yield led
