"""/metrics: the agent and the kernel's tables at the moment of the scrape, as Prometheus reads them.

    metrics = Metrics(progress, report, connections)
    metrics.answer("/metrics", accept)

Nothing is counted on the side but durations: the numbers are those of the report. A scrape costs less than 50 ms
however many Services there are; where connections are counted by Service, 0.4 µs more for each live socket.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import MappingProxyType

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from socklb import __version__
from socklb.health.alarms import NAMES
from socklb.health.progress import Progress
from socklb.health.server import Answer
from socklb.model import endpoint_text
from socklb.report import ConnectFacts, PacketFacts, Report
from socklb.sockets.counted import Row

MOST_COUNTED = 1 << 14  # MAX_CONNECTS of bpf/socket_maps.h
PACKETS = MappingProxyType(
    {
        "flows_begun": "Flows that began to be translated, since the tables were made.",
        "flows_ended": "Flows that ended.",
        "refused": "Packets that were answered by a RST or an ICMP error.",
        "forbidden": "Packets that were dropped: source ranges, or a traffic policy Local without an endpoint here.",
        "lost_no_room": "Packets of new flows that were dropped because the table of flows had no room.",
        "lost_no_port": "Packets of new flows that were dropped because no port was free to masquerade with.",
    }
)


class Metrics(Collector):
    """See the module. `report` and `connections` are called at each scrape, in a thread of the server."""

    def __init__(
        self, progress: Progress, report: Callable[[], Report], connections: Callable[[], Iterable[Row]]
    ) -> None:
        self._progress, self._report, self._connections = progress, report, connections
        disable_created_metrics()  # a histogram's time of birth: noise to everybody
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        self._one_at_a_time = threading.Lock()

    def answer(self, _path: str, accept: str) -> Answer:
        """Return all metrics in the format that the client accepts."""
        encode, content_type = choose_encoder(accept)
        with self._one_at_a_time:
            return Answer(200, encode(self._registry), content_type)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        report = self._report()
        yield InfoMetricFamily("socklb_agent", "The agent's version; the value is 1.", {"version": __version__})
        yield from _of_progress(self._progress)
        yield from _of_services(report)
        yield from _of_tables(report)
        yield from _of_sockets(report)
        yield from _of_connections(self._connections())
        yield from _of_hooks(report)
        yield from _of_packets(report.packet_path)
        yield from _of_connect(report.connect)
        yield from _of_running(report)
        yield from _of_trouble(report)


def _of_progress(progress: Progress) -> Iterator[Metric]:
    yield _gauge("synced", "Whether everything from the source was read and applied once.", progress.synced)
    yield _gauge(
        "last_sync_timestamp_seconds", "When a batch of changes was applied last.", progress.last_applied or 0.0
    )
    yield from progress.sync_duration.collect()
    yield from progress.programming_duration.collect()


def _of_services(report: Report) -> Iterator[Metric]:
    services = report.services
    yield _gauge("services", "Services that the agent serves.", services.services)
    yield _gauge("frontends", "Frontends that the socket hooks serve.", services.frontends)
    yield _gauge(
        "frontends_without_backends",
        "Frontends without a backend: connections to them are refused.",
        services.without_backends,
    )
    yield _gauge("frontends_waiting", "Frontends that found no room in the tables.", services.waiting)


def _of_tables(report: Report) -> Iterator[Metric]:
    entries = GaugeMetricFamily("socklb_table_entries", "Entries in use of a table of the kernel.", labels=["table"])
    capacity = GaugeMetricFamily("socklb_table_capacity", "How many entries the table can have now.", labels=["table"])
    for table in report.maps:
        entries.add_metric([table.name], table.used)
        capacity.add_metric([table.name], table.capacity)
    writes = CounterMetricFamily("socklb_table_writes", "Elements and rows written by this agent.", labels=["table"])
    for name, count in report.writes.items():
        writes.add_metric([name], count)
    yield from (entries, capacity, writes)
    text = (
        "Elements of the table frontends that were damaged from outside and taken out, to be written again; and how"
        " often the table left_out was changed from outside and put back."
    )
    yield CounterMetricFamily("socklb_table_repairs", text, value=report.table_repairs)
    spilled, lost = report.records.spilled, report.records.lost
    text = "Records of sockets whose slot was taken; they work, and cost more."
    yield CounterMetricFamily("socklb_records_spilled", text, value=spilled)
    text = "Records of sockets that found no memory: getpeername() shows the backend there."
    yield CounterMetricFamily("socklb_records_lost", text, value=lost)


def _of_sockets(report: Report) -> Iterator[Metric]:
    text = "Connected UDP sockets whose backend left: connected again, destroyed, or left as they were."
    moved = CounterMetricFamily("socklb_sockets_moved", text, labels=["way"])
    for way, count in report.moved.items():
        moved.add_metric([way], count)
    yield moved
    text = (
        "TCP connections to endpoints that are gone, of Services with `socklb.io/on-removal: reset`: sockets and flows"
        " of packets that were reset, and sockets that were left as they were."
    )
    reset = CounterMetricFamily("socklb_connections_reset", text, labels=["kind"])
    for kind, count in report.reset.items():
        reset.add_metric([kind], count)
    yield reset
    text = (
        "Calls that the socket hooks refused since the tables were made: no endpoint serves, the Service has no such"
        " port, or a bind() to a Service's port."
    )
    refused = CounterMetricFamily("socklb_refused", text, labels=["reason"])
    for reason, count in report.refused.items():
        refused.add_metric([reason], count)
    yield refused
    text = f"Connects that found no room to be counted: more than {MOST_COUNTED:,} backends by address and port asked."
    yield CounterMetricFamily("socklb_connects_uncounted", text, value=report.uncounted)


def _of_connections(rows: Iterable[Row]) -> Iterator[Metric]:
    labels = ["namespace", "service", "backend"]
    text = (
        "Connects that the hooks led to a backend, whether it accepted or not, TCP and UDP; only of the Services in"
        " `metrics_services`; exact, and kept over restarts of the agent."
    )
    ever = CounterMetricFamily("socklb_service_connects", text, labels=labels)
    text = (
        "Sockets that have a backend now, TCP and connected UDP, also an unconnected UDP socket by what it asked last;"
        " only of the Services in `metrics_services`. Those of socklb_records_spilled_total are not counted."
    )
    now = GaugeMetricFamily("socklb_service_connections", text, labels=labels)
    for row in rows:
        namespace, _, name = row.service.partition("/")
        values = [namespace, name, endpoint_text(row.backend)]
        ever.add_metric(values, row.ever)
        now.add_metric(values, row.now)
    yield from (ever, now)


def _of_hooks(report: Report) -> Iterator[Metric]:
    attached = GaugeMetricFamily(
        "socklb_hook_attached", "Whether the hook is attached to the node's cgroup.", labels=["hook"]
    )
    text = "Whether the kernel runs the hook for every cgroup at and below the node's."
    effective = GaugeMetricFamily("socklb_hook_effective", text, labels=["hook"])
    for hook in report.hooks:
        attached.add_metric([hook.name], hook.attached)
        effective.add_metric([hook.name], hook.effective)
    yield from (attached, effective)
    text = "Hooks and pins that were damaged from outside and put back."
    yield CounterMetricFamily("socklb_hook_repairs", text, value=report.hook_repairs)


def _of_packets(path: PacketFacts) -> Iterator[Metric]:
    if path.enabled:
        text = "Whether our programs at the uplinks are as they were attached."
        yield _gauge("packet_path_whole", text, bool(path.whole))
        yield _gauge("packet_path_failing", "Whether the last change of the packet path failed.", bool(path.error))
        text = "How often another program was found to have changed ours, which was mended."
        yield CounterMetricFamily("socklb_packet_path_damages", text, value=path.damages)
    for name, count in path.counters.items():
        yield CounterMetricFamily(f"socklb_packets_{name}", PACKETS.get(name, ""), value=count)


def _of_connect(connect: ConnectFacts) -> Iterator[Metric]:
    if connect.translated is not None:
        text = "Whether the hooks translated a connect of the agent's own, tried every ten seconds."
        yield _gauge("connect_translated", text, connect.translated)


def _of_running(report: Report) -> Iterator[Metric]:
    text = "Whether a task or thread of the agent is alive."
    alive = GaugeMetricFamily("socklb_task_alive", text, labels=["name"])
    failures = GaugeMetricFamily(
        "socklb_task_failures", "How often a task or thread failed since it last worked.", labels=["name"]
    )
    for one in report.running:
        alive.add_metric([one.name], one.alive)
        failures.add_metric([one.name], one.failures)
    yield from (alive, failures)


def _of_trouble(report: Report) -> Iterator[Metric]:
    since = report.source.lost_since
    text = "For how many seconds the source of Services could not be asked; 0: it can be."
    yield _gauge("source_out_of_reach_seconds", text, 0.0 if since is None else max(0.0, time.time() - since))
    yield _gauge("problems", "How many problems `socklb status` lists.", len(report.problems))
    alarm = GaugeMetricFamily("socklb_alarm", "1 while the alarm stands.", labels=["name"])
    stands = {alarm.name for alarm in report.alarms}
    for name in NAMES:
        alarm.add_metric([name], name in stands)
    yield alarm


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"socklb_{name}", text, value=value)
