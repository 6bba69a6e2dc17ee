"""What the agent tells others than its operator: probes, load balancers and Prometheus.

    health = Health(config, agent, datapath, find_leftovers)
    async with health.answering():
        health.begin()
        …                                      # a batch goes to the kernel
        health.applied(state, affected, batch)

Servers run in threads of their own: they answer while the agent works, and it works while they answer. An address that
cannot be listened at is a problem that `socklb status` shows, and is tried again; the agent goes on.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from socklb.api.source import Batch, Problem
from socklb.config import Config
from socklb.datapath import hooks, view
from socklb.datapath.node import NodeDatapath
from socklb.errors import SocklbError
from socklb.health import addresses, pages
from socklb.health.facts import Facts, gather, standing
from socklb.health.metrics import Metrics
from socklb.health.node_ports import NodePorts
from socklb.health.progress import Progress
from socklb.health.server import Answer, HttpServer, Listener, Respond
from socklb.state import Affected, State

if TYPE_CHECKING:
    from socklb.agent import Agent

RETRY = 5.0  # seconds
LEFTOVERS_EVERY = 60.0  # seconds: it lists the node's rules
BUSY = 0.5  # seconds that a scrape waits for an agent that is at work

log = logging.getLogger(__name__)


class Health:
    """See the module."""

    def __init__(
        self, config: Config, agent: Agent, datapath: NodeDatapath, find_leftovers: Callable[[], list[str]]
    ) -> None:
        """Begin with nobody listening. `find_leftovers` names what kube-proxy left; it runs in a thread."""
        self.progress = Progress()
        self._find_leftovers = find_leftovers
        self._node, self._agent, self._datapath = config.node, agent, datapath
        self._server = HttpServer()
        self._node_ports = NodePorts(config.node, self._server, self.progress.healthy)
        self._eligible = True
        self._leftovers: list[str] = []
        self._metrics = Metrics(self.progress, self._facts, self._hooks, self._sockets)
        wanted = {
            "health": (addresses.parse("health_address", config.health_address), self._health_pages()),
            "metrics": (addresses.parse("metrics_address", config.metrics_address), self._metrics_pages()),
        }
        self._wanted = {name: (address, pages_) for name, (address, pages_) in wanted.items() if address}
        self._open: dict[str, Listener] = {}
        self._closed: dict[str, str] = {}  # why not open

    @property
    def problems(self) -> list[Problem]:
        """Addresses that cannot be listened at, and alarms."""
        own = [
            Problem("", 0, f"{name}_address", f"{self._wanted[name][0]} {why}") for name, why in self._closed.items()
        ]
        alarms = standing(self._datapath, self._leftovers)
        return [*own, *self._node_ports.problems, *(alarm.problem for alarm in alarms)]

    @property
    def listening(self) -> dict[str, str]:
        """Where who listens: health, metrics, and Services with a port of their own."""
        own = {name: str(listener.address) for name, listener in self._open.items()}
        return own | self._node_ports.listening

    def begin(self) -> None:
        """A batch is to be applied."""
        self.progress.begin()

    def applied(self, state: State, affected: Affected, batch: Batch) -> None:
        """It was: tell those who ask from now on."""
        if self._node in affected.nodes:
            self._eligible = pages.is_eligible(state.nodes.get(self._node))
        self.progress.applied(batch)
        self._node_ports.update(state, affected)

    @asynccontextmanager
    async def answering(self) -> AsyncGenerator[None]:
        """Answer while the block runs."""
        _raise_file_limit()
        self._loop, self._last = asyncio.get_running_loop(), await self._gather()
        with self._server:
            task = asyncio.create_task(self._tend())
            try:
                yield
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _tend(self) -> None:
        """Open what is not open yet, and look now and then for what another proxy left."""
        looked = -LEFTOVERS_EVERY
        while True:
            self._open_addresses()
            self._node_ports.retry()
            if time.monotonic() - looked >= LEFTOVERS_EVERY:
                looked = time.monotonic()
                await self._look_for_leftovers()
            await asyncio.sleep(RETRY)

    async def _look_for_leftovers(self) -> None:
        try:
            self._leftovers = await asyncio.to_thread(self._find_leftovers)
        except (OSError, SocklbError) as error:
            log.warning("cannot look for what kube-proxy left: %s", error)

    def _open_addresses(self) -> None:
        for name, (address, respond) in self._wanted.items():
            if name in self._open:
                continue
            try:
                self._open[name] = self._server.listen(address, respond)
                self._closed.pop(name, None)
            except OSError as error:
                why = f"cannot be listened at: {error.strerror}"
                if self._closed.get(name) != why:
                    log.warning("%s_address %s %s; tried again every %s s", name, address, why, RETRY)
                self._closed[name] = why

    def _health_pages(self) -> Respond:
        return pages.by_path(self._probes())

    def _metrics_pages(self) -> Respond:
        mode = Answer(200, b"socklb")
        own: dict[str, Respond] = {"/metrics": self._metrics.answer, "/proxyMode": lambda _path, _accept: mode}
        return pages.by_path(self._probes() | own)

    def _probes(self) -> dict[str, Respond]:
        return {
            "/healthz": lambda _path, _accept: pages.healthz(self.progress, eligible=self._eligible),
            "/livez": lambda _path, _accept: pages.livez(self.progress),
        }

    def _facts(self) -> Facts:
        """Ask the agent's event loop, from another thread; a busy agent is taken as it was last."""
        asked = asyncio.run_coroutine_threadsafe(self._gather(), self._loop)
        try:
            self._last = asked.result(BUSY)
        except TimeoutError:
            asked.cancel()
        return self._last

    async def _gather(self) -> Facts:
        return gather(self._agent, self._datapath, self._leftovers)

    def _hooks(self) -> dict[str, bool]:
        return hooks.attached(self._datapath.cgroup, self._datapath.pins.links)

    def _sockets(self) -> list[view.Fill]:
        return list(view.sockets(self._datapath.pins.maps))


def _raise_file_limit() -> None:
    """A port a Service: the soft limit of 1024 descriptors would be for programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
