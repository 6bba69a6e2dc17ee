"""What is true on this node: the agent's report, or, where no agent runs, what the kernel shows.

report = collect(config)
rows = services(config)
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from socklb import __version__, catalog, control, report
from socklb.catalog import Entry
from socklb.config import Config
from socklb.datapath import hooks, left_out, mounts, view
from socklb.datapath.pins import Pins
from socklb.errors import SocklbError
from socklb.report import Report
from socklb.serving import ANY4, ANY6, Frontend, Serving, endpoint_text, frontend_text, packet_only
from socklb.sockets.pods import Pods

Row = dict[str, Any]


def without_agent(config: Config) -> Report:
    """Give what can be read back of a node that no agent looks after."""
    pins, cgroup = Pins(Path(config.bpffs)), find_cgroup(config)
    frontends = view.read_frontends(pins.maps) if pins.exist() else {}
    fills = view.fill(pins.maps, frontends) if pins.exist() else []
    return Report(
        made=time.time(),
        agent=report.AgentFacts(version=__version__),
        node=config.node,
        cgroup=str(cgroup),
        hooks=[report.HookFacts(**asdict(hook)) for hook in hooks.inspect(cgroup, pins.links)],
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


def _left_out(pins: Pins, cgroup: Path) -> list[report.LeftOutFacts]:
    """Say what the last agent left out, as far as it is there."""
    since = left_out.read(pins.maps)
    pods = Pods(cgroup) if since else None
    found = ((pods and pods.by_cgroup(id_), when) for id_, when in since.items())
    return [report.LeftOutFacts(pod.cgroup, pod.name, since=when) for pod, when in found if pod]


def _packet_path(config: Config) -> report.PacketFacts:
    """Ask the kernel, as the agent would."""
    if not config.packet_path:
        return report.PacketFacts()
    from socklb.tc.seen import seen  # noqa: PLC0415  (where an agent runs it is not asked)

    try:
        return msgspec.structs.replace(seen(Pins(Path(config.bpffs))), host_routing=config.host_routing)
    except (SocklbError, OSError) as error:
        return report.PacketFacts(True, error=str(error))


class Listing(NamedTuple):
    """Frontends as `service list` shows them, and whether a running agent named them."""

    rows: list[Row]
    current: bool


def services(config: Config, namespace: str = "", name: str = "") -> Listing:
    """Give the frontends of these Services: which are served, by what and by whom, as the kernel shows it."""
    pins = Pins(Path(config.bpffs))
    held = view.read_frontends(pins.maps).items()
    served = {frontend_text(f): (f, serving) for f, serving in held if not f.scope}
    known, current = entries(config, namespace, name)
    packets = _packet_path(config)
    rows = [_row(entry, served.get(entry.frontend), packets) for entry in known]
    if not (namespace or name):
        named = {entry.frontend for entry in known}
        rows += _unnamed({text: how for text, how in served.items() if text not in named})
    return Listing(sorted(rows, key=lambda row: (row["service"] or "", row["frontend"])), current)


def names_of_frontends(config: Config) -> dict[str, str]:
    """Give the Service of each frontend, as a running agent names them, or as the last one did."""
    return {entry.frontend: entry.service for entry in entries(config, "", "")[0]}


def entries(config: Config, namespace: str, name: str) -> tuple[list[Entry], bool]:
    """Give what the agent knows of these Services' frontends, and whether it answers; else what was known last."""
    answer = None
    with suppress(control.SilentAgentError):
        answer = control.ask_raw(Path(config.socket), f"services {namespace} {name}")
    if answer:
        return msgspec.json.decode(answer, type=list[Entry]), True
    known = catalog.read(Path(config.socket).parent / catalog.FILE) or []
    wanted = set(catalog.matching({entry.service for entry in known}, namespace, name))
    return [entry for entry in known if entry.service in wanted], False


def _row(entry: Entry, served: tuple[Frontend, Serving] | None, packets: report.PacketFacts) -> Row:
    """Merge what the agent knows of a frontend with what the kernel holds."""
    paths = ["socket"] if served and not entry.packet_only else []
    paths += ["packet"] if packets.whole else []
    if not served and not entry.packet_only:
        paths = []  # the tables had no room for it, or the agent has not come to it
    backends = [endpoint_text(backend) for backend in served[1].backends] if served else entry.backends
    return {
        "service": entry.service,
        "type": entry.type,
        "frontend": entry.frontend,
        "path": paths,
        "backends": backends,
    }


def _unnamed(served: Mapping[str, tuple[Frontend, Serving]]) -> list[Row]:
    """Give what the kernel holds and nobody can name."""
    return [
        {
            "service": None,
            "type": "NodePort" if frontend.address in (ANY4, ANY6) else "-",
            "frontend": text,
            "path": ["packet" if packet_only(frontend, serving) else "socket"],
            "backends": [endpoint_text(backend) for backend in serving.backends],
        }
        for text, (frontend, serving) in served.items()
    ]


def find_cgroup(config: Config) -> Path:
    """Give the cgroup that the hooks belong on.

    Raises:
        SocklbError: no cgroup-v2 hierarchy is mounted.
    """
    if config.cgroup:
        return Path(config.cgroup)
    found = mounts.cgroup2_root(mounts.read_mounts())
    if found is None:
        raise SocklbError("no cgroup-v2 hierarchy is mounted", hint="start the agent: it mounts one")
    return found
