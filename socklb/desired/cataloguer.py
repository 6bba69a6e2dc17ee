"""Make the catalog in the agent, from state and plan, on request and for the file.

    cataloguer = Cataloguer(path, state)
    entries = await cataloguer.entries(plan, namespace, name)
    cataloguer.changed()                                # Services were added, changed or deleted
    await cataloguer.keep(plan)                         # every few seconds: writes the file if it is out of date

The catalog of a large cluster is made in pieces, so that the agent can work in between.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path

from socklb.api.addresses import parse_address
from socklb.api.objects import Service
from socklb.desired import catalog, endpoints
from socklb.desired.catalog import Entry
from socklb.desired.plan import Plan
from socklb.desired.store import ObjectStore
from socklb.model import ANY4, ANY6, Frontend, Serving, endpoint_text, frontend_text, packet_only

PIECE = 500  # Services, some 5 ms
REST = 20  # the pause before the next write, in multiples of the time the last one took


class Cataloguer:
    """See the module."""

    def __init__(self, path: Path, state: ObjectStore) -> None:
        """Start with the file that an earlier agent may have left."""
        self._path, self._state = path, state
        self._changed = False
        self._not_before = 0.0

    async def entries(self, plan: Plan, namespace: str = "", name: str = "") -> list[Entry]:
        """Return the frontends of these Services."""
        keys = sorted(catalog.matching(plan.services, namespace, name))
        found: list[Entry] = []
        for begin in range(0, len(keys), PIECE):
            found += self.of(plan, keys[begin : begin + PIECE])
            await asyncio.sleep(0)
        return found

    def of(self, plan: Plan, keys: Iterable[str]) -> list[Entry]:
        """Return the frontends that these Services hold."""
        found: list[Entry] = []
        for key in keys:
            service, planned = self._state.services.get(key), plan.services.get(key)
            if service is None or planned is None:
                continue  # deleted between two pieces
            found += (
                _entry(service, frontend, serving)
                for frontend, serving in planned.frontends.items()
                if plan.holder(frontend) == key
            )
        return found

    def conditions(self, key: str) -> dict[str, str]:
        """Return the condition of every endpoint of a Service."""
        found = endpoints.conditions(self._state.slices(key))
        return {endpoint_text(backend): said for backend, said in found.items()}

    def changed(self) -> None:
        """Note that the file is out of date."""
        self._changed = True

    async def keep(self, plan: Plan, *, at_once: bool = False) -> None:
        """Write the file if it is out of date, but not soon after a write that took long, unless `at_once`.

        Raises:
            OSError: it cannot be written.
        """
        began = time.monotonic()
        if self._changed and (at_once or began >= self._not_before):
            self._changed = False
            found = await self.entries(plan)
            await asyncio.to_thread(catalog.write, self._path, found)
            self._not_before = time.monotonic() + REST * (time.monotonic() - began)


def _entry(service: Service, frontend: Frontend, serving: Serving) -> Entry:
    unseen = packet_only(frontend, serving)
    backends = [endpoint_text(backend) for backend in serving.backends] if unseen else []
    return Entry(frontend_text(frontend), service.key, type_of(service, frontend), unseen, backends)


def type_of(service: Service, frontend: Frontend) -> str:
    """Return the type of the Service address that the frontend belongs to."""
    if frontend.address in (ANY4, ANY6):
        return "NodePort"
    spec = service.spec
    if frontend.address in map(parse_address, spec.cluster_ips):
        return "ClusterIP"
    return "ExternalIP" if frontend.address in map(parse_address, spec.externalIPs) else "LoadBalancer"
