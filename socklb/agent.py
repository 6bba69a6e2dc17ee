"""The agent of one node: what the source says goes into the kernel's tables, one way, left to right.

    asyncio.run(serve(config))

Stopping or killing it disturbs nobody: maps and hooks are pinned and go on working; the next agent reads them back.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Coroutine, Iterator
from contextlib import aclosing
from itertools import islice
from pathlib import Path
from typing import Any

from socklb import control
from socklb.api.manifests import ManifestFolder
from socklb.api.source import Batch, Problem, Reach, Source
from socklb.config import Config
from socklb.datapath import mounts
from socklb.datapath.node import OBJECTS, NodeDatapath
from socklb.datapath.sizes import Sizes
from socklb.health.health import Health
from socklb.hook_watch import HookWatch
from socklb.packets.leftovers import leftovers
from socklb.packets.path import PacketPath
from socklb.plan import Plan
from socklb.routes import NodeRoutes
from socklb.serving import Difference, frontend_text
from socklb.state import State

NAMED = 10  # frontends without room, one by one

log = logging.getLogger(__name__)


async def serve(config: Config) -> None:
    """Serve this node until SIGTERM or SIGINT.

    Raises:
        SocklbError: the node cannot be served; nothing was changed.
    """
    cgroup = Path(config.cgroup) if config.cgroup else mounts.find_or_mount_cgroup2()
    objects = Path(config.objects) if config.objects else OBJECTS
    source = source_of(config)
    sizes = Sizes(config.max_frontends, config.max_backends)
    with NodeDatapath(Path(config.bpffs), cgroup, objects, sizes, Path(config.socket).parent) as datapath:
        log.info("eBPF object: %s", datapath.object_file)
        for feature in datapath.missing:
            log.warning("this kernel lacks a feature: %s", feature)
        agent = Agent(config, source, datapath)
        async with (
            control.answering(Path(config.socket), agent),
            agent.health.answering(),
            agent.hooks.kept_whole(),
            agent.packets.kept_whole(),
            agent.routes.kept(),
        ):
            await until_stopped(agent.follow())
    log.info("stopped; the hooks go on serving what they have")


def source_of(config: Config) -> Source:
    """Give the source of objects that the configuration names.

    Raises:
        SocklbError: the credentials for the API cannot be used.
    """
    if config.manifests:
        return ManifestFolder(Path(config.manifests))
    from socklb.api.cluster import KubernetesApi  # noqa: PLC0415  (40 MB of memory that a folder does not need)
    from socklb.api.connection import Connection  # noqa: PLC0415

    return KubernetesApi(Connection(config.kubeconfig, config.api_servers), config.node)


async def until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine until it ends or a signal asks to stop."""
    task = asyncio.create_task(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return


class Agent:
    """The state of a serving agent."""

    def __init__(self, config: Config, source: Source, datapath: NodeDatapath) -> None:
        self.config = config
        self.started = time.time()
        self.revision = 0
        self.synced = False
        self.applied: dict[str, int | None] = {}
        self._source = source
        self._datapath = datapath
        self._state = State()
        self.hooks = HookWatch(datapath)
        self.packets = PacketPath(config)
        self.routes = NodeRoutes(config)
        self.health = Health(config, self, datapath, find_leftovers=leftovers if config.packet_path else list)
        self.plan = Plan(config.node, external_ips=config.external_ips, controllers=not config.manifests)

    async def follow(self) -> None:
        """Apply whatever the source says, as it says it."""
        async with aclosing(self._source.batches()) as batches:
            async for batch in batches:
                self.take(batch)

    def take(self, batch: Batch) -> None:
        """Bring one batch into the kernel, and let the hooks run once there is something to serve."""
        self.health.begin()
        affected = self._state.apply(batch.changes)
        difference = self.plan.update(self._state, affected)
        self.packets.refuse_in(cidr for one in self._state.service_cidrs.values() for cidr in one.spec.cidrs)
        if batch.complete and not self.synced:
            self._serve_all()
        else:
            self._serve(difference if self.synced else self._without_losses(difference))
        self.routes.update(self._state, affected.nodes, complete=batch.complete)
        self._note(batch)
        self.health.applied(self._state, affected, batch)

    def _serve(self, difference: Difference) -> None:
        self._serve_sockets(difference, whole=self.synced)
        self.packets.apply(difference.for_packets())

    def _serve_all(self) -> None:
        """Everything is known: entries of an earlier agent that nobody wants are pruned."""
        self._serve_sockets(self._against_the_kernel(), whole=True)
        wanted = self.plan.full()
        self.packets.sync(Difference(wanted.frontends).for_packets().put, wanted.addresses)

    def _serve_sockets(self, difference: Difference, *, whole: bool) -> None:
        self._datapath.tables.apply(difference.for_sockets())
        self.hooks.attach(whole=whole)

    def _without_losses(self, difference: Difference) -> Difference:
        """While not everything could be read, a Service whose endpoints are unknown keeps those that it had."""
        served = self._datapath.tables.serving
        known = {
            frontend: now
            for frontend, now in difference.put.items()
            if now.backends or not ((before := served(frontend)) and before.backends)
        }
        return difference._replace(put=known)

    def _against_the_kernel(self) -> Difference:
        """Compare all that should be with all that is."""
        wanted, tables = self.plan.full(), self._datapath.tables
        return Difference(
            put=wanted.frontends,
            delete=tables.frontends - wanted.frontends.keys(),
            add=wanted.addresses,
            remove=tables.addresses.without(wanted.addresses),
        )

    def _note(self, batch: Batch) -> None:
        first = not self.revision
        self.revision += 1
        for change in batch.changes:
            name = f"{change.kind}/{change.key}"
            if change.object is None:
                self.applied.pop(name, None)
            else:
                self.applied[name] = change.object.metadata.generation
        if batch.complete and not self.synced:
            self.synced = True
            log.info(
                "in sync: %d Services, %d frontends",
                len(self.plan.services),
                len(self._datapath.tables.frontends),
            )
        elif first:
            log.warning("not everything could be read: what the kernel served before is kept until it can be")
        for text in self._without_room():
            log.error("no room in the tables for %s: what it had is kept", text)

    @property
    def reach(self) -> Reach:
        """Whether the source can be asked."""
        return self._source.reach

    def problems(self) -> list[Problem]:
        """Give what is wrong now: with what the source says, between Services, and in the tables."""
        full = [Problem("", 0, "", f"no room in the tables for {text}") for text in self._without_room()]
        beside = [*self.hooks.problems, *self.packets.problems, *self.routes.problems, *self.health.problems]
        return [*self._source.problems, *self.plan.problems, *full, *beside]

    def _without_room(self) -> Iterator[str]:
        """Name some frontends that wait for room, and say how many more do: it may be most of a cluster."""
        waiting = self._datapath.tables.waiting
        yield from map(frontend_text, islice(waiting, NAMED))
        if len(waiting) > NAMED:
            yield f"{len(waiting) - NAMED} more"

    def writes(self) -> dict[str, int]:
        """Give how many elements and rows were written to each table since the start."""
        return dict(self._datapath.tables.writes)
