"""/metrics: the agent and the kernel's tables at the moment of the scrape, as Prometheus reads them.

    metrics = Metrics(progress, facts, hooks, sockets)
    metrics.answer("/metrics", accept)

Nothing is counted on the side but durations: numbers come from the agent's memory, from the kernel where only it knows.
A scrape costs less than 50 ms however many Services there are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from socklb import __version__
from socklb.datapath.view import Fill
from socklb.health.alarms import NAMES
from socklb.health.facts import Facts
from socklb.health.progress import Progress
from socklb.health.server import Answer


class Metrics(Collector):
    """See the module. The callables are called at each scrape, in a thread of the server."""

    def __init__(
        self,
        progress: Progress,
        facts: Callable[[], Facts],
        hooks: Callable[[], Mapping[str, bool]],
        sockets: Callable[[], Iterable[Fill]],
    ) -> None:
        self._progress, self._facts, self._hooks, self._sockets = progress, facts, hooks, sockets
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        self._one_at_a_time = threading.Lock()

    def answer(self, _path: str, accept: str) -> Answer:
        """Give all metrics in the format that the client accepts."""
        encode, content_type = choose_encoder(accept)
        with self._one_at_a_time:
            return Answer(200, encode(self._registry), content_type)

    def collect(self) -> Iterator[Metric]:
        """Give the metrics as they are now."""
        facts = self._facts()
        yield InfoMetricFamily("socklb_agent", "The agent's version.", {"version": __version__})
        yield from _of_progress(self._progress)
        yield from _of_services(facts)
        yield from _of_tables([*facts.fills, *self._sockets()], facts)
        hooks = GaugeMetricFamily("socklb_hook_attached", "Whether the hook is attached.", labels=["hook"])
        for name, attached in self._hooks().items():
            hooks.add_metric([name], attached)
        yield hooks
        yield CounterMetricFamily(
            "socklb_hook_repairs", "Hooks and pins that were damaged from outside and put back.", value=facts.repairs
        )
        yield from _of_trouble(facts)


def _of_progress(progress: Progress) -> Iterator[Metric]:
    yield _gauge("synced", "Whether everything from the source was read and applied once.", progress.synced)
    yield _gauge(
        "last_sync_timestamp_seconds", "When a batch of changes was applied last.", progress.last_applied or 0.0
    )
    yield from progress.sync_duration.collect()
    yield from progress.programming_duration.collect()


def _of_services(facts: Facts) -> Iterator[Metric]:
    yield _gauge("services", "Services that are planned.", facts.services)
    yield _gauge("frontends", "Frontends that the socket hooks serve.", facts.frontends)
    yield _gauge("frontends_without_backends", "Those of them that are refused.", facts.without_backends)
    yield _gauge("frontends_waiting", "Frontends that found no room in the tables.", facts.waiting)


def _of_tables(fills: Iterable[Fill], facts: Facts) -> Iterator[Metric]:
    entries = GaugeMetricFamily("socklb_table_entries", "Entries of the kernel's tables.", labels=["table"])
    capacity = GaugeMetricFamily("socklb_table_capacity", "How many entries a table can have.", labels=["table"])
    for fill in fills:
        entries.add_metric([fill.name], fill.used)
        capacity.add_metric([fill.name], fill.capacity)
    writes = CounterMetricFamily("socklb_table_writes", "Elements and rows written by this agent.", labels=["table"])
    for name, count in facts.writes.items():
        writes.add_metric([name], count)
    yield from (entries, capacity, writes)
    yield CounterMetricFamily(
        "socklb_records_spilled", "Records of sockets that found their slot taken.", value=facts.records.spilled
    )
    yield CounterMetricFamily(
        "socklb_records_lost", "Records of sockets that found no memory.", value=facts.records.lost
    )


def _of_trouble(facts: Facts) -> Iterator[Metric]:
    text = "Since when the source of Services cannot be asked; 0: it can."
    yield _gauge("source_out_of_reach_seconds", text, facts.out_of_reach)
    yield _gauge("problems", "What `socklb status` lists under problems.", facts.problems)
    alarm = GaugeMetricFamily("socklb_alarm", "Whether something must be done about this.", labels=["name"])
    stands = {alarm.name for alarm in facts.alarms}
    for name in NAMES:
        alarm.add_metric([name], name in stands)
    yield alarm


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"socklb_{name}", text, value=value)
