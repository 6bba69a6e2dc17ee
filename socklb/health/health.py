"""The agent's answers to others than its operator: probes, load balancers and Prometheus.

    health = Health(config, progress, report, now)
    supervisor.every("health", RETRY, health.look)
    with health.answering():
        health.applied(state, affected)         # a batch is in the kernel

Servers run in threads of their own: they answer while the agent works, and it works while they answer. Their answers
are made from the agent's report. An address that cannot be listened at is a problem in `socklb status`, and is tried
again; the agent continues.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

from socklb import listen_address
from socklb.api.source import Problem
from socklb.config import Config
from socklb.desired.store import Affected, ObjectStore
from socklb.health import proxy_health
from socklb.health.metrics import Metrics
from socklb.health.progress import Progress
from socklb.health.server import Answer, HttpServer, Listener, Respond
from socklb.health.service_health import NodePorts
from socklb.report import Report, RunningFacts
from socklb.sockets.counted import Row

RETRY = 5.0  # seconds
BUSY = 0.5  # seconds that a probe or a scrape waits for a busy agent

log = logging.getLogger(__name__)


class Health:
    """See the module."""

    def __init__(
        self,
        config: Config,
        progress: Progress,
        report: Callable[[], Report],
        now: Callable[[Report], Report],
        connections: Callable[[], Iterable[Row]],
    ) -> None:
        """Start without listeners. `report` makes a report in the agent's loop, `now` updates an older one.

        connections: returns them by Service and backend; it is called in a thread of the server.
        """
        self._node, self._progress, self._make, self._now = config.node, progress, report, now
        self._server = HttpServer()
        self._node_ports = NodePorts(config.node, self._server, lambda: not proxy_health.not_serving(self._report()))
        self.eligible = True
        self._metrics = Metrics(progress, self._report, connections)
        wanted = {
            "health": (listen_address.parse("health_address", config.health_address), self._health_pages()),
            "metrics": (listen_address.parse("metrics_address", config.metrics_address), self._metrics_pages()),
        }
        self._wanted = {name: (address, pages_) for name, (address, pages_) in wanted.items() if address}
        self._open: dict[str, Listener] = {}
        self._closed: dict[str, str] = {}  # why not open

    @property
    def problems(self) -> list[Problem]:
        """Return the addresses that cannot be listened at."""
        own = [
            Problem("", 0, f"{name}_address", f"{self._wanted[name][0]} {why}") for name, why in self._closed.items()
        ]
        return [*own, *self._node_ports.problems]

    @property
    def listening(self) -> dict[str, str]:
        """Return the listeners' addresses: health, metrics, and Services with a port of their own."""
        own = {name: str(listener.address) for name, listener in self._open.items()}
        return own | self._node_ports.listening

    @property
    def running(self) -> list[RunningFacts]:
        """Return the state of the thread that accepts connections."""
        return [RunningFacts("health server", self._server.alive)]

    def applied(self, state: ObjectStore, affected: Affected) -> None:
        """Note that changes are in the kernel: answers include them from now on."""
        if self._node in affected.nodes:
            self.eligible = proxy_health.is_eligible(state.nodes.get(self._node))
        self._node_ports.update(state, affected)

    @contextmanager
    def answering(self) -> Generator[None]:
        """Answer within the block, which runs in the agent's loop."""
        _raise_file_limit()
        self._loop = asyncio.get_running_loop()
        with self._server:
            self._last = self._make()
            yield

    def look(self) -> None:
        """Open the listeners that are not open yet."""
        self._open_addresses()
        self._node_ports.retry()

    def _open_addresses(self) -> None:
        for name, (address, respond) in self._wanted.items():
            if name in self._open:
                continue
            try:
                self._open[name] = self._server.listen(address, respond)
                self._closed.pop(name, None)
            except OSError as error:
                why = f"cannot be listened at: {error.strerror}"
                self._closed[name] = why

    def _health_pages(self) -> Respond:
        return proxy_health.by_path(self._probes())

    def _metrics_pages(self) -> Respond:
        mode = Answer(200, b"socklb")
        own: dict[str, Respond] = {"/metrics": self._metrics.answer, "/proxyMode": lambda _path, _accept: mode}
        return proxy_health.by_path(self._probes() | own)

    def _probes(self) -> dict[str, Respond]:
        return {
            "/healthz": lambda _path, _accept: proxy_health.healthz(self._report(), self._progress),
            "/livez": lambda _path, _accept: proxy_health.livez(self._report(), self._progress),
        }

    def _report(self) -> Report:
        """Return a report from the agent's event loop, called in another thread; the last one, updated, if the agent is
        busy.
        """
        asked = asyncio.run_coroutine_threadsafe(self._in_loop(), self._loop)
        try:
            self._last = asked.result(BUSY)
        except TimeoutError:
            asked.cancel()
            return self._now(self._last)
        return self._last

    async def _in_loop(self) -> Report:
        return self._make()


def _raise_file_limit() -> None:
    """Raise the limit of descriptors: a port per Service may need more than the soft limit of 1024, which is for
    select().
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
