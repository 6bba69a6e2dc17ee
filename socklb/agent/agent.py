"""The agent of one node: it brings the objects of the source into the kernel's tables.

    asyncio.run(serve(config))

Traffic goes on when it stops or is killed: maps and hooks are pinned and stay at work; the next agent reads them back.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from contextlib import aclosing
from pathlib import Path

from socklb.agent.answers import Answers
from socklb.agent.connect_check import ConnectCheck
from socklb.agent.hook_watch import EVERY as HOOKS_EVERY
from socklb.agent.hook_watch import HookWatch
from socklb.agent.leftovers import leftovers
from socklb.agent.monitors import Monitors
from socklb.agent.reporter import FEW, LOOK, Parts, Reporter
from socklb.api.manifests import ManifestFolder
from socklb.api.source import Batch, Source
from socklb.bypass.bypass import EVERY as BYPASS_EVERY
from socklb.bypass.bypass import Bypass
from socklb.config import Config
from socklb.datapath import features, mounts
from socklb.datapath.hooks import inspect
from socklb.datapath.node_datapath import OBJECTS, NodeDatapath
from socklb.datapath.room import Room
from socklb.datapath.sizes import Sizes
from socklb.desired import at_frontend
from socklb.desired.catalog import FILE
from socklb.desired.cataloguer import Cataloguer
from socklb.desired.network_flags import flags_of
from socklb.desired.plan import Plan
from socklb.desired.store import Affected, ObjectStore
from socklb.errors import reason
from socklb.health.health import RETRY, Health
from socklb.model import Backend, Difference
from socklb.routes.node_routes import NodeRoutes
from socklb.sockets.counted import Counted
from socklb.sockets.ended import EVERY as ENDED_EVERY
from socklb.sockets.ended import Ended
from socklb.sockets.follower import Follower
from socklb.sockets.resetting import EVERY as REMOVED_EVERY
from socklb.sockets.resetting import Resetter
from socklb.status import summary
from socklb.tc.path import TcPath
from socklb.tc.takeover import Takeover

NAMES_EVERY = 1.0  # seconds between two checks whether the file of names is up to date
COUNTS_EVERY = 60.0  # seconds
LEFTOVERS_EVERY = 60.0  # seconds: it lists the node's rules
LEFTOVERS_AGAIN = 5.0  # seconds, if there were some: somebody is about to remove them
TAKE_OVER_EVERY = 10.0  # seconds
MOVE_AGAIN = 1.0  # seconds: sockets send to a backend that is gone, and hooks that were away are back in three

log = logging.getLogger(__name__)


async def serve(config: Config) -> None:
    """Serve this node until SIGTERM or SIGINT.

    Raises:
        SocklbError: the node cannot be served; nothing was changed.
    """
    cgroup = Path(config.cgroup) if config.cgroup else mounts.find_or_mount_cgroup2()
    objects = Path(config.objects) if config.objects else OBJECTS
    source = source_of(config)
    most = Sizes(config.max_frontends, config.max_backends)
    first, run = Sizes().at_most(most), Path(config.socket).parent
    ways = {
        "packets": bool(config.packet_path),
        "pod_sockets": config.pod_sockets,
        "count_connects": bool(config.metrics_services),
        "leave_out": config.bypass_pods or bool(config.bypass_cgroups),
    }
    with NodeDatapath(Path(config.bpffs), cgroup, objects, first, run, most=most, **ways) as datapath:
        log.info("eBPF object: %s", datapath.object_file)
        for feature in datapath.missing:
            log.warning("this kernel lacks a feature: %s", feature)
        agent = Agent(config, source, datapath)
        async with agent.packets.kept_whole():
            if not config.node_routes:
                await asyncio.to_thread(agent.routes.leave)
            with agent.health.answering():
                async with agent.supervisor.at_work():
                    await asked_to_stop()
        await agent.leave_names()
    log.info("stopped; the hooks go on serving what they have")


def source_of(config: Config) -> Source:
    """Return the source of objects that the configuration names.

    Raises:
        SocklbError: the credentials for the API cannot be used.
    """
    if config.manifests:
        return ManifestFolder(Path(config.manifests))
    from socklb.api.cluster import KubernetesApi  # noqa: PLC0415  (40 MB of memory that a folder does not need)
    from socklb.api.connection import Connection  # noqa: PLC0415

    return KubernetesApi(Connection(config.kubeconfig, config.api_servers), config.node, pods=config.bypass_pods)


async def asked_to_stop() -> None:
    """Wait for SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


class Agent:
    """A serving agent: its parts, and what is done with a batch."""

    def __init__(self, config: Config, source: Source, datapath: NodeDatapath) -> None:
        self._config, self._source, self._datapath = config, source, datapath
        self._state = ObjectStore()
        self._complete = False  # whether everything has been read once
        self._begun_again = False  # whether the source repeats what the plan already knows
        self.hooks = HookWatch(datapath)
        self.connect = ConnectCheck(datapath)
        self.packets = TcPath(config, datapath.pins, datapath.objects, served=bool(datapath.tables.frontends))
        self.room = Room(datapath, self.packets.tables_moved)
        self._takeover: Takeover | None = Takeover()
        self._leftovers_due = 0.0
        self.routes = NodeRoutes(config)
        self.bypass = Bypass(config, self._state, datapath, lambda: self._complete)
        self.plan = self._new_plan()
        self._unapplied: list[tuple[Batch, Affected]] = []
        self.follower = Follower(datapath.pins.maps, lambda: self.hooks.attached, self._hooks_at_work)
        self.ended = Ended(datapath.pins.maps, datapath.cgroup, datapath.end_socket)
        self.resetter = Resetter(datapath.pins.maps, self.packets.reset)
        self._parts = parts = Parts(
            *(config, datapath, source, self.hooks, self.connect, self.room, self.plan, self.packets, self.routes),
            bypass=self.bypass,
        )
        parts.moved, parts.reset = self.follower.done, self.resetter.done
        self.supervisor, self.progress = parts.supervisor, parts.progress
        self.reporter = Reporter(parts)
        self._counted = Counted(datapath.pins.maps, config.metrics_services, self._service_at)
        self.health = Health(config, self.progress, self.reporter.report, self.reporter.now, self._counted.read)
        self.reporter.hear(self.health)
        self._cataloguer = Cataloguer(Path(config.socket).parent / FILE, self._state)
        self._supervise()

    def _new_plan(self) -> Plan:
        config = self._config
        return Plan(
            config.node,
            external_ips=config.external_ips,
            controllers=not config.manifests,
            counted=features.COMPARE_AND_SWAP not in self._datapath.missing,
        )

    def _supervise(self) -> None:
        """Register everything that runs. What is added here appears in the report, so it cannot die in silence."""
        supervisor, config = self.supervisor, self._config
        supervisor.keep("answers", self._answers().serve)
        supervisor.keep("source", self.follow)
        supervisor.every("changes", RETRY, self.take_again)
        supervisor.every("names", NAMES_EVERY, lambda: self._cataloguer.keep(self.plan))
        supervisor.every("room", RETRY, self.room.make)
        supervisor.every("hooks", HOOKS_EVERY, self.hooks.look)
        supervisor.every("bypass", BYPASS_EVERY, self.bypass.look)
        supervisor.every("connect", 1.0, self._check_connect)  # soon after hooks are attached, then when it is due
        supervisor.keep("sockets", self.follower.follow, longest=MOVE_AGAIN)
        supervisor.every("on-removal", REMOVED_EVERY, self.resetter.look)
        supervisor.every("ended sockets", ENDED_EVERY, lambda: self.ended.look(self.hooks.put_back))
        supervisor.every("report", LOOK, self.reporter.report)
        supervisor.every("health", RETRY, self.health.look)
        supervisor.watch(lambda: self.health.running)
        if config.packet_path:
            supervisor.watch(lambda: self.packets.running)
            supervisor.every("look for kube-proxy", LEFTOVERS_AGAIN, self._look_for_leftovers)
            supervisor.every("take over", TAKE_OVER_EVERY, self._take_over)
        if config.metrics_services:
            supervisor.every("counts", COUNTS_EVERY, self._tidy_counts)
        if config.node_routes:
            supervisor.keep("node routes", self.routes.looked_after)

    def _hooks_at_work(self) -> bool:
        """Return whether the kernel runs all hooks now. Threads may call this."""
        return all(hook.effective for hook in inspect(self._datapath.cgroup, self._datapath.pins.links))

    def _service_at(self, asked: Backend, protocol: int) -> str | None:
        return self.plan.service_at(asked, protocol)

    def _tidy_counts(self) -> None:
        if self.progress.synced:
            self._counted.tidy(self._state)

    async def _check_connect(self) -> None:
        if self.hooks.attached and self.connect.due:
            await self.connect.look()

    def _answers(self) -> Answers:
        """Return the answers to the questions of `socklb.control_socket`."""

        async def status(_: str) -> object:
            return self.reporter.report(max_age=0, named=FEW)

        async def summarize(how: str) -> object:
            found = self.reporter.report(max_age=0)
            return {"text": summary.text(found, verbose=how == "verbose"), "synced": found.synced}

        async def synced(_: str) -> object:
            return {"synced": self.progress.synced}

        async def objects(_: str) -> object:
            return self.progress.objects

        async def services(which: str) -> object:
            namespace, _, name = which.partition(" ")
            return await self._cataloguer.entries(self.plan, namespace, name)

        async def endpoints(which: str) -> object:
            return {key: self._cataloguer.conditions(key) for key in which.split()}

        async def wanted(which: str) -> object:
            found = at_frontend.of(self._state, self.plan, at_frontend.read_frontend(which))
            found.synced = self.progress.synced
            return found

        respond = {
            "status": status,
            "summary": summarize,
            "synced": synced,
            "objects": objects,
            "services": services,
            "endpoints": endpoints,
            "desired": wanted,
        }
        return Answers(Path(self._config.socket), respond, {"monitor": Monitors(self._datapath).tell})

    async def leave_names(self) -> None:
        """Bring the file of names up to date for commands that run while no agent does."""
        try:
            await self._cataloguer.keep(self.plan, at_once=True)
        except OSError as error:
            log.warning("the names of Services cannot be written: %s", reason(error))

    async def _take_over(self) -> None:
        """Remove an earlier version's packet path once this one serves everything."""
        if self._takeover:
            whole = self.progress.synced and bool(self.packets.facts.whole)
            if await asyncio.to_thread(self._takeover.look, whole=whole):
                self._takeover = None

    async def _look_for_leftovers(self) -> None:
        now = time.monotonic()
        if self.reporter.leftovers or now >= self._leftovers_due:
            self.reporter.leftovers = await asyncio.to_thread(leftovers)
            self._leftovers_due = now + LEFTOVERS_EVERY

    async def follow(self) -> None:
        """Apply the batches of the source as they come. What cannot be applied is tried again, by `take_again` too.

        A source that is started again repeats everything. That changes nothing in the plan, but it is the moment to
        compare all that should be in the kernel with all that is.
        """
        try:
            async with aclosing(self._source.batches()) as batches:
                async for batch in batches:
                    try:
                        self.take(batch)
                    except Exception as error:  # noqa: BLE001 - whatever it is, the next change may mend it
                        log.error("changes: could not be applied: %s", reason(error))  # noqa: TRY400 - one line
        finally:
            self._begun_again = True

    def take(self, batch: Batch) -> None:
        """Apply one batch to the kernel, and attach the hooks once there is something to serve.

        It counts as applied when the packet path has applied it too; later batches do not wait for that.
        """
        self.progress.begin()
        affected = self._state.apply(batch.changes)
        self._unapplied.append((batch, affected))
        if self._begun_again or len(self._unapplied) > 1:
            self.take_again()
            return
        difference = self.plan.update(self._state, affected)
        if batch.complete and not self._complete:
            self._serve_all()
        else:
            self._serve(difference if self._complete else self._without_losses(difference))
        self._all_taken()

    def take_again(self) -> None:
        """Apply what failed. How much of it was written is unknown, so everything is read back, planned and applied
        again.
        """
        if not self._unapplied:
            return
        self._datapath.tables.read_back()
        self.plan = self._parts.plan = self._new_plan()
        self.plan.update(self._state, self._state.everything)
        if self._complete or any(batch.complete for batch, _ in self._unapplied):
            self._serve_all()
        else:
            wanted = self.plan.full()
            self._serve(self._without_losses(Difference(wanted.frontends, add=wanted.addresses)))
        self._begun_again = False
        self._all_taken()

    def _all_taken(self) -> None:
        service_cidrs = tuple(cidr for one in self._state.service_cidrs.values() for cidr in one.spec.cidrs)
        config = self._config
        known = flags_of(config.pod_cidrs, config.native_cidrs, service_cidrs) if config.packet_path else {}
        self._datapath.tables.networks.set(known)
        before = self._complete
        for batch, affected in self._unapplied:
            self.routes.update(self._state, affected.nodes, complete=batch.complete)
            self._complete = self._complete or batch.complete
        if self._complete:
            services = (key for _, affected in self._unapplied for key in affected.services)
            self.resetter.note(self._state, self.plan, services if before else self._state.services)
        began, taken = self.progress.taken(), list(self._unapplied)
        self._unapplied.clear()
        self.packets.after(lambda: self._applied(taken, began))

    def _serve(self, difference: Difference) -> None:
        self._serve_sockets(self._in_tables(difference), whole=self._complete)
        self.packets.apply(difference)

    def _serve_all(self) -> None:
        """Serve when everything is known: entries of an earlier agent that are not desired any more are pruned."""
        self._serve_sockets(self._against_the_kernel(), whole=True)
        self.packets.serve()

    def _serve_sockets(self, difference: Difference, *, whole: bool) -> None:
        self._datapath.tables.apply(difference)
        self.follower.changed(difference.put)  # before larger tables are made: nobody waits for those
        self.room.make()
        self.hooks.attach(whole=whole)

    def _in_tables(self, difference: Difference) -> Difference:
        """Return what the tables are to hold: more where the packet path serves from them too."""
        return difference.for_tables() if self._config.packet_path else difference.for_sockets()

    def _without_losses(self, difference: Difference) -> Difference:
        """Until everything has been read, let a Service whose endpoints are unknown keep those that it had."""
        served = self._datapath.tables.serving
        known = {
            frontend: now
            for frontend, now in difference.put.items()
            if now.backends or not ((before := served(frontend)) and before.backends)
        }
        return difference._replace(put=known)

    def _against_the_kernel(self) -> Difference:
        """Return the difference between all that should be in the kernel and all that is."""
        wanted, tables = self.plan.full(), self._datapath.tables
        put = self._in_tables(Difference(wanted.frontends)).put
        return Difference(
            put=put,
            delete=tables.frontends - put.keys(),
            add=wanted.addresses,
            remove=tables.addresses.without(wanted.addresses),
        )

    def _applied(self, taken: list[tuple[Batch, Affected]], began: float) -> None:
        first, synced = not self.progress.revision, self.progress.synced
        for batch, affected in taken:
            self.health.applied(self._state, affected)  # before it is told that all is applied
            self.progress.applied(batch, began)
            if any(change.kind == "Service" for change in batch.changes):
                self._cataloguer.changed()
        if self.progress.synced and not synced:
            log.info("in sync: %d Services, %d frontends", len(self.plan.services), self._datapath.tables.count)
        elif first:
            log.warning("not everything could be read: what the kernel served before is kept until it can be")
