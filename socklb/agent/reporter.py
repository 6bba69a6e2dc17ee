"""Make the report of a running agent: read the state of every part, in the agent's event loop.

    reporter = Reporter(parts)
    reporter.hear(health)           # another part that has problems and listens
    report = reporter.report()      # hooks and the packet path as seen at most LOOK seconds ago
    report = reporter.report(max_age=0)

Hooks and the packet path are read from the kernel. The cost of that grows with the chains of a node, so probes and
scrapes share one reading.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Protocol

from msgspec import structs

from socklb import __version__, report
from socklb.agent.connect_check import ConnectCheck
from socklb.agent.hook_watch import HookWatch
from socklb.agent.problems import ProblemBook
from socklb.agent.supervise import Supervisor
from socklb.api.source import Problem, Source
from socklb.bypass.bypass import Bypass
from socklb.config import Config
from socklb.datapath import dump, hooks
from socklb.datapath.features import FEATURES
from socklb.datapath.node_datapath import NodeDatapath
from socklb.datapath.room import Room
from socklb.desired.plan import Plan
from socklb.health.alarms import alarms
from socklb.health.progress import Progress
from socklb.model import frontend_text
from socklb.report import Report
from socklb.routes.node_routes import NodeRoutes
from socklb.tc.path import TcPath

LOOK = 5.0  # seconds
NAMED = 10  # frontends without room that are named one by one
FEW = 5000  # objects whose generations a report names: some 300 KB, made in 5 ms


class Teller(Protocol):
    """A part that has problems and may listen somewhere."""

    @property
    def problems(self) -> Sequence[Problem]:
        """Return what is wrong at present."""
        ...

    @property
    def listening(self) -> Mapping[str, str]:
        """Return the address of each listener by name."""
        ...

    @property
    def eligible(self) -> bool:
        """Return whether load balancers may send new connections to this node."""
        ...


@dataclass
class Parts:
    """The parts of the agent that a report reads."""

    config: Config
    datapath: NodeDatapath
    source: Source
    hooks: HookWatch
    connect: ConnectCheck
    room: Room
    plan: Plan
    packets: TcPath
    routes: NodeRoutes
    bypass: Bypass
    supervisor: Supervisor = field(default_factory=Supervisor)
    progress: Progress = field(default_factory=Progress)
    moved: Mapping[str, int] = field(default_factory=dict[str, int])
    reset: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass
class Seen:
    """What was read back, and when (monotonic)."""

    at: float
    hooks: list[report.HookFacts]
    packet_path: report.PacketFacts
    sockets: list[dump.Fill]


class Reporter:
    """See the module."""

    def __init__(self, parts: Parts) -> None:
        """Start without a reading."""
        self._parts = parts
        self._health: Teller | None = None
        self._seen: Seen | None = None
        self._book = ProblemBook()
        self.leftovers: list[str] = []

    def hear(self, health: Teller) -> None:
        """Include this part in the report."""
        self._health = health

    def report(self, max_age: float = LOOK, *, named: int = 0) -> Report:
        """Return everything; the objects by name only if there are no more than `named`."""
        parts, progress, health = self._parts, self._parts.progress, self._health
        seen = self._look(max_age)
        found = Report(
            made=time.time(),
            agent=self._agent(),
            node=parts.config.node,
            cgroup=str(parts.datapath.cgroup),
            source=report.SourceFacts(*parts.source.reach),
            synced=progress.synced,
            late=progress.late,
            applied=self._applied(named=len(progress.objects) <= named),
            running=parts.supervisor.running,
            hooks=seen.hooks,
            lacking=parts.hooks.lacking,
            hook_trouble=parts.hooks.alarms,
            hook_repairs=parts.hooks.repairs,
            pod_sockets=parts.config.pod_sockets,
            left_out=parts.bypass.facts,
            packet_path=seen.packet_path,
            connect=parts.connect.facts,
            services=self._services(),
            maps=self._tables(seen.sockets),
            table_repairs=parts.datapath.tables.repairs + parts.datapath.left_out.repairs,
            records=report.RecordFacts(*parts.datapath.records),
            leftovers=self.leftovers,
            moved=dict(parts.moved),
            reset=dict(parts.reset),
            refused=parts.datapath.refused,
            uncounted=parts.datapath.uncounted,
            writes=dict(parts.datapath.tables.writes),
            listening=dict(health.listening) if health else {},
            eligible=health.eligible if health else True,
        )
        found.alarms = alarms(found)
        found.problems = self._book.note(self._problems(found), self._logged(found))
        return found

    def now(self, before: Report) -> Report:
        """Update the parts of a report that threads may read, while the agent's loop is busy."""
        progress = self._parts.progress
        running = self._parts.supervisor.running
        return structs.replace(before, synced=progress.synced, late=progress.late, running=running)

    def _look(self, max_age: float) -> Seen:
        now, parts = time.monotonic(), self._parts
        if self._seen is None or now - self._seen.at >= max_age:
            inspected = hooks.inspect(parts.datapath.cgroup, parts.datapath.pins.links)
            facts = [report.HookFacts(**asdict(hook)) for hook in inspected]
            slots = [*dump.sockets(parts.datapath.pins.maps), *parts.packets.fills]
            self._seen = Seen(now, facts, parts.packets.facts, slots)
        return self._seen

    def _agent(self) -> report.AgentFacts:
        datapath = self._parts.datapath
        return report.AgentFacts(
            running=True,
            pid=os.getpid(),
            version=__version__,
            started=self._parts.progress.started,
            object=datapath.object_file,
            lacks=list(map(str, datapath.missing)),
            features={feature.name: feature not in datapath.missing for feature in FEATURES},
        )

    def _applied(self, *, named: bool) -> report.Applied:
        progress = self._parts.progress
        return report.Applied(progress.revision, len(progress.objects), dict(progress.objects) if named else None)

    def _services(self) -> report.ServiceFacts:
        tables = self._parts.datapath.tables
        return report.ServiceFacts(
            services=len(self._parts.plan.services),
            frontends=tables.count,
            without_backends=tables.without_backends,
            waiting=len(tables.waiting),
            addresses_waiting=tables.addresses_waiting,
            ranges_waiting=tables.ranges_waiting,
        )

    def _tables(self, sockets: list[dump.Fill]) -> list[report.TableFacts]:
        datapath = self._parts.datapath
        fills, most = [*datapath.tables.fill(), datapath.left_out.fill, *sockets], datapath.most.promised()
        return [
            report.TableFacts(fill.name, fill.used, fill.capacity, most.get(fill.name, fill.capacity)) for fill in fills
        ]

    def _logged(self, found: Report) -> list[Problem]:
        """Return what is wrong now and logged by its own source."""
        parts = self._parts
        of_hooks = [Problem("", 0, "", text, name=name) for name, text in found.hook_trouble.items()]
        beside = [*parts.packets.problems, *parts.routes.problems, *parts.supervisor.problems]
        return [*parts.source.problems, *of_hooks, *beside]

    def _problems(self, found: Report) -> list[Problem]:
        """Return what is wrong now and not logged elsewhere."""
        full = [Problem("", 0, "", f"no room in the tables for {text}") for text in self._without_room()]
        own: Iterable[Problem] = self._health.problems if self._health else ()
        raised = [
            Problem("", 0, "", alarm.message, name=f"{alarm.name} {alarm.about}")
            for alarm in found.alarms
            if alarm.name != "packet_path_failing" and alarm.name not in found.hook_trouble  # logged by source
        ]
        told = filter(None, (self._parts.datapath.larger_than_asked, self._parts.room.refusal))
        kept = [Problem("", 0, "max_frontends, max_backends", text) for text in told]
        return [*self._parts.plan.problems, *self._parts.bypass.problems, *full, *kept, *own, *raised]

    def _without_room(self) -> Iterator[str]:
        """Yield some frontends that wait for room, and how many more there are: it may be most of a cluster."""
        waiting = self._parts.datapath.tables.waiting
        yield from map(frontend_text, islice(waiting, NAMED))
        if len(waiting) > NAMED:
            yield f"{len(waiting) - NAMED} more"
