"""What an operator must act on. Pure.

    for alarm in alarms(report): …

`socklb status` shows an alarm among its problems, and the metric `socklb_alarm` is 1 under its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import NamedTuple

from socklb.report import (
    AlarmFacts,
    ConnectFacts,
    PacketFacts,
    RecordFacts,
    Report,
    ServiceFacts,
    TableFacts,
)

NEARLY_FULL = 0.9
LARGER = "set max_frontends or max_backends higher and restart the agent, which disturbs nobody"
FEWER_FLOWS = "socklb flow list; then set max_flows higher, socklb cleanup, and start the agent"
FEWER_PATTERNS = "fewer patterns in bypass_cgroups"
FEWER_NETWORKS = "fewer networks in pod_cidrs and native_cidrs"
FEWER_SOCKETS = "look for a program that opens that many sockets"
MEMORY = "look for memory pressure in the node's cgroups"
CLEAN_UP = "stop it, then kube-proxy --cleanup"
WHOSE_PROGRAMS = "bpftool cgroup tree"
LOOK = "socklb status --verbose, bpftool cgroup tree"
LOG = "see the agent's log"
START_AGENT = "start the agent (systemctl start socklb-agent)"
START = "start the agent, which puts them back (systemctl start socklb-agent)"
RESTART = "restart it, which disturbs no connection"


class Alarm(NamedTuple):
    """When an alarm stands, and what to do then. docs/reference.md prints both: run `make format`."""

    when: str
    next: str


ALARMS = MappingProxyType(
    {
        "table_nearly_full": Alarm(
            "a table is filled to nine tenths of what it may grow to",
            f"{LARGER}; for the table flows: {FEWER_FLOWS}; for the table left_out: {FEWER_PATTERNS}; for the table"
            f" networks: {FEWER_NETWORKS}",
        ),
        "slots_nearly_full": Alarm(
            "the slots of sockets are filled to nine tenths: sockets that find no slot cost more at connect() and are"
            " not counted for least-loaded",
            FEWER_SOCKETS,
        ),
        "no_room_for_frontends": Alarm(
            "some Services have fewer endpoints than they should, or are not served; none has an endpoint that is gone",
            LARGER,
        ),
        "no_room_for_addresses": Alarm(
            "some addresses found no room: unknown ports of these ClusterIPs are not refused, and NodePorts at these"
            " nodes are not translated",
            LARGER,
        ),
        "no_room_for_source_ranges": Alarm(
            "some of `loadBalancerSourceRanges` are not in the table, so their clients are kept out; nobody else is let"
            " in",
            LARGER,
        ),
        "records_lost": Alarm(
            "sockets found no memory for their record since the tables were made: their connections work,"
            " and getpeername() shows the backend",
            MEMORY,
        ),
        "kube_proxy_left_over": Alarm("rules of a kube-proxy are on this node", CLEAN_UP),
        "hooks_refused": Alarm(
            "no hook is attached: a program of another owner leaves no room, or the kernel refuses; Services are served"
            " on the packet only",
            "do what the message says: stop the owner of the program that it names",
        ),
        "hooks_damaged": Alarm(
            "somebody detached or unpinned hooks or tables, or unmounted their file system; a running agent puts them"
            " back",
            f"find who did it; if the alarm stands for longer than ten seconds, the message says what cannot be put"
            f" back; without an agent: {START}",
        ),
        "hook_not_effective": Alarm("a hook is attached, and the kernel does not run it", WHOSE_PROGRAMS),
        "packet_path_not_whole": Alarm(
            "a program at an uplink is damaged or not there, after everything was read: what comes from outside and"
            " what no socket hook sees is not served",
            f"the agent mends it within ten seconds; if it does not, {LOG}; without an agent: {START}",
        ),
        "packet_path_failing": Alarm("the last change of the packet path failed", "the message says why"),
        "flows_lost": Alarm(
            "a new flow found no room in the table, or no port to masquerade with, in the last ten minutes, and was"
            " dropped",
            FEWER_FLOWS,
        ),
        "connect_not_translated": Alarm(
            "the agent asked a frontend of its own, and a hook that is attached did not do its part; `/healthz` fails"
            " too",
            f"{LOOK}; the message says which hook: look for programs of others at the cgroup, restart the agent",
        ),
        "not_running": Alarm(
            "no agent runs; or a task or thread of the agent is gone, stuck, or has failed for a minute: `/livez` fails"
            " too",
            f"{START_AGENT}; of a task or thread its log says why: {RESTART}",
        ),
    }
)
NAMES = tuple(ALARMS)


def alarms(report: Report) -> list[AlarmFacts]:
    """Return the alarms that stand."""
    return [
        *_of_tables(report.maps),
        *_of_room(report.services),
        *_of_records(report.records),
        *_of_leftovers(report.leftovers),
        *_of_hooks(report),
        *_of_packets(report),
        *_of_connect(report.connect),
        *_of_running(report),
    ]


def _of_tables(tables: Iterable[TableFacts]) -> Iterator[AlarmFacts]:
    for table in tables:
        room = max(table.capacity, table.most)
        if table.used < NEARLY_FULL * room:
            continue
        text = f"the table {table.name} holds {table.used} of {room} entries"
        if table.name == "sockets":
            text += ": sockets that find no slot cost more at connect() and are not counted for least-loaded"
            yield AlarmFacts("slots_nearly_full", f"{text}; next: {FEWER_SOCKETS}")
        else:
            others = {"flows": FEWER_FLOWS, "left_out": FEWER_PATTERNS, "networks": FEWER_NETWORKS}
            next_ = others.get(table.name, LARGER)
            yield AlarmFacts("table_nearly_full", f"{text}; next: {next_}", table.name)


def _of_room(services: ServiceFacts) -> Iterator[AlarmFacts]:
    if services.waiting:
        text = f"no room in the tables for {_count(services.waiting, 'frontend')}: they have the endpoints that fit"
        yield AlarmFacts("no_room_for_frontends", f"{text}; next: {LARGER}")
    if services.addresses_waiting:
        count = _count(services.addresses_waiting, "address")
        text = f"no room in the tables for {count}: they are not known yet; next: {LARGER}"
        yield AlarmFacts("no_room_for_addresses", text)
    if services.ranges_waiting:
        count = _count(services.ranges_waiting, "source range")
        text = f"no room in the tables for {count}: clients in them are kept out of their Services; next: {LARGER}"
        yield AlarmFacts("no_room_for_source_ranges", text)


def _of_records(records: RecordFacts) -> Iterator[AlarmFacts]:
    if records.lost:
        text = f"{_count(records.lost, 'record')} of sockets found no memory since the tables were made"
        what = f"getpeername() shows a backend there; next: {MEMORY}"
        yield AlarmFacts("records_lost", f"{text}: {what}")


def _of_leftovers(leftovers: Sequence[str]) -> Iterator[AlarmFacts]:
    if leftovers:
        text = f"kube-proxy left rules on this node: {', '.join(leftovers)}; next: {CLEAN_UP}"
        yield AlarmFacts("kube_proxy_left_over", text)


def _of_hooks(report: Report) -> Iterator[AlarmFacts]:
    for name, text in report.hook_trouble.items():
        yield AlarmFacts(name, text)
    missing = [] if report.agent.running else [hook.name for hook in report.hooks if not hook.attached]
    if missing:  # a running agent says it in hook_trouble
        of = f"{len(missing)} of {len(report.hooks)} hooks {'is' if len(missing) == 1 else 'are'}"
        text = f"{of} not attached to {report.cgroup}: {', '.join(missing)}"
        yield AlarmFacts("hooks_damaged", f"{text}; next: {START}")
    for hook in report.hooks:
        if hook.attached and not hook.effective:
            text = f"{hook.name} is attached and not effective: the kernel does not run it"
            yield AlarmFacts("hook_not_effective", f"{text}; next: {WHOSE_PROGRAMS}", hook.name)


def _of_packets(report: Report) -> Iterator[AlarmFacts]:
    path, running = report.packet_path, report.agent.running
    if not path.enabled:
        return
    if path.whole is False and (path.there or report.synced or not running):  # it is made once everything was read
        lost = "what comes from outside and what no socket hook sees is not served"
        text = f"a program at an uplink {_damage(path)}: {lost}"
        yield AlarmFacts("packet_path_not_whole", f"{text}; next: {LOG if running else START}")
    if path.losing:
        text = "new flows found no room in the table, or no port to masquerade with, in the last ten minutes"
        yield AlarmFacts("flows_lost", f"{text}; next: {FEWER_FLOWS}")
    if path.error:
        yield AlarmFacts("packet_path_failing", f"the packet path is not up to date: {path.error}")


def _damage(path: PacketFacts) -> str:
    troubles = "; ".join(f"{device.name}: {device.trouble}" for device in path.devices if device.trouble)
    return ("is damaged" if path.there else "is not there") + (f" ({troubles})" if troubles else "")


def _of_connect(connect: ConnectFacts) -> Iterator[AlarmFacts]:
    if connect.translated is False:
        text = f"a connect of the agent's own was not served as one to a Service should be: {connect.error}"
        yield AlarmFacts("connect_not_translated", f"{text}; next: {LOOK}")


def _of_running(report: Report) -> Iterator[AlarmFacts]:
    if not report.agent.running:
        text = "no agent runs: changes are not followed, damage is not mended"
        yield AlarmFacts("not_running", f"{text}; next: {START_AGENT}", "agent")
    for one in report.running:
        if not one.alive:
            text = f"{one.name} should run in the agent and does not: {one.error or 'it is gone'}"
            yield AlarmFacts("not_running", f"{text}; next: {RESTART}", one.name)


def _count(number: int, what: str) -> str:
    plural = what + ("es" if what.endswith("s") else "s")
    return f"{number} {what if number == 1 else plural}"
