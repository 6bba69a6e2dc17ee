"""The state of this node: the agent's report, or, if no agent runs, what the kernel shows.

report = collect(config)
rows = services(config)
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from socklb import __version__, report
from socklb.config import Config
from socklb.datapath import dump, hooks, left_out, mounts, older
from socklb.datapath.pins import Pins
from socklb.desired.catalog import Entry
from socklb.desired.names import entries
from socklb.errors import SocklbError
from socklb.health.alarms import alarms
from socklb.model import ANY4, ANY6, Frontend, Serving, endpoint_text, frontend_text, is_ipv4, packet_only
from socklb.report import Report
from socklb.sockets.pods import Pods
from socklb.status.served import serves_sockets

Row = dict[str, Any]
OTHER_VERSION = (
    "another version serves, whose tables this one cannot read: {}; next: socklb agent, which takes over without a gap,"
    " or that version's own socklb status"
)


def without_agent(config: Config) -> Report:
    """Return what can be read back on a node without a running agent."""
    pins, cgroup = Pins(Path(config.bpffs)), find_cgroup(config)
    frontends = dump.read_frontends(pins.maps) if pins.exist() else {}
    fills = dump.fill(pins.maps, frontends) if pins.exist() else []
    found = Report(
        made=time.time(),
        agent=report.AgentFacts(version=__version__),
        node=config.node,
        cgroup=str(cgroup),
        hooks=_hooks(pins, cgroup),
        pod_sockets=config.pod_sockets,
        left_out=_left_out(pins, cgroup),
        packet_path=_packet_path(config),
        maps=[report.TableFacts(fill.name, fill.used, fill.capacity) for fill in fills],
        services=report.ServiceFacts(
            services=len({entry.service for entry in entries(config, "", "")[0]}),
            frontends=sum(1 for frontend in frontends if not frontend.scope),
            without_backends=sum(1 for f, serving in frontends.items() if not f.scope and not serving.backends),
        ),
    )
    found.alarms = alarms(found)
    texts = [*(alarm.message for alarm in found.alarms), *_other_versions(pins)]
    found.problems = [report.ProblemFacts("", 0, "", text) for text in texts]
    return found


def _other_versions(pins: Pins) -> list[str]:
    """Return the other versions whose hooks or programs are attached: only they can read what those serve."""
    return [OTHER_VERSION.format(folder) for folder in pins.older if older.serves(folder)]


def _left_out(pins: Pins, cgroup: Path) -> list[report.LeftOutFacts]:
    """Return what the last agent left out, if it still exists."""
    since = left_out.read(pins.maps)
    pods = Pods(cgroup) if since else None
    found = ((pods and pods.by_cgroup(id_), when) for id_, when in since.items())
    return [report.LeftOutFacts(pod.cgroup, pod.name, since=when) for pod, when in found if pod]


def _packet_path(config: Config) -> report.PacketFacts:
    """Return the packet path's state from the kernel, as the agent would."""
    if not config.packet_path:
        return report.PacketFacts()
    from socklb.tc.seen import seen  # noqa: PLC0415  (where an agent runs it is not asked)

    try:
        return seen(Pins(Path(config.bpffs)))
    except (SocklbError, OSError) as error:
        return report.PacketFacts(True, error=str(error))


class Listing(NamedTuple):
    """Frontends for `service list`, and whether a running agent named them."""

    rows: list[Row]
    current: bool


def services(config: Config, namespace: str = "", name: str = "") -> Listing:
    """Return the frontends of these Services: which are served, by which path and which backends, as the kernel shows
    it.
    """
    pins = Pins(Path(config.bpffs))
    held = dump.read_frontends(pins.maps).items()
    served = {frontend_text(f): (f, serving) for f, serving in held if not f.scope}
    known, current = entries(config, namespace, name)
    packets, attached = _packet_path(config), _hooks(pins, find_cgroup(config))
    rows = [_row(entry, served.get(entry.frontend), packets, attached) for entry in known]
    if not (namespace or name):
        named = {entry.frontend for entry in known}
        rows += _unnamed({text: how for text, how in served.items() if text not in named}, packets, attached)
    return Listing(sorted(rows, key=lambda row: (row["service"] or "", row["frontend"])), current)


def _hooks(pins: Pins, cgroup: Path) -> list[report.HookFacts]:
    return [report.HookFacts(**asdict(hook)) for hook in hooks.inspect(cgroup, pins.links)]


def _row(
    entry: Entry,
    served: tuple[Frontend, Serving] | None,
    packets: report.PacketFacts,
    attached: list[report.HookFacts],
) -> Row:
    """Combine what the agent knows about a frontend with what the kernel holds."""
    paths = _paths(served[0], entry.packet_only, packets, attached) if served else []
    if not served and entry.packet_only and packets.whole:
        paths = ["packet"]  # otherwise there was no room, or it is not applied yet
    backends = [endpoint_text(backend) for backend in served[1].backends] if served else entry.backends
    return {
        "service": entry.service,
        "type": entry.type,
        "frontend": entry.frontend,
        "path": paths,
        "backends": backends,
    }


def _paths(
    frontend: Frontend,
    packets_only: bool,
    packets: report.PacketFacts,
    attached: list[report.HookFacts],
) -> list[str]:
    """Return the paths that serve a frontend of the tables: those that are attached."""
    datagrams = frontend.protocol == socket.IPPROTO_UDP
    by_sockets = serves_sockets(attached, ipv4=is_ipv4(frontend.address), datagrams=datagrams)
    paths = ["socket"] if by_sockets and not packets_only else []
    return [*paths, "packet"] if packets.whole else paths


def _unnamed(
    served: Mapping[str, tuple[Frontend, Serving]],
    packets: report.PacketFacts,
    attached: list[report.HookFacts],
) -> list[Row]:
    """Return the frontends in the kernel without a known Service."""
    return [
        {
            "service": None,
            "type": "NodePort" if frontend.address in (ANY4, ANY6) else "-",
            "frontend": text,
            "path": _paths(frontend, packet_only(frontend, serving), packets, attached),
            "backends": [endpoint_text(backend) for backend in serving.backends],
        }
        for text, (frontend, serving) in served.items()
    ]


def find_cgroup(config: Config) -> Path:
    """Return the cgroup for the hooks.

    Raises:
        SocklbError: no cgroup-v2 hierarchy is mounted.
    """
    if config.cgroup:
        return Path(config.cgroup)
    found = mounts.cgroup2_root(mounts.read_mounts())
    if found is None:
        raise SocklbError("no cgroup-v2 hierarchy is mounted", hint="start the agent: it mounts one")
    return found
