"""What is true on this node: the agent's report, or, where no agent runs, what the kernel and nftables show.

report = collect(config)
rows = services(config)
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from socklb import __version__, control, report
from socklb.config import Config
from socklb.datapath import hooks, mounts, view
from socklb.datapath.maps import HashTable
from socklb.datapath.pins import Pins
from socklb.errors import SocklbError
from socklb.report import Report
from socklb.serving import ANY4, ANY6, Frontend, Serving, endpoint_text, frontend_text

Row = dict[str, Any]


def collect(config: Config) -> Report:
    """Give the report of this node, whether or not an agent runs."""
    answer = control.ask_raw(Path(config.socket), "status")
    return msgspec.json.decode(answer, type=Report) if answer else without_agent(config)


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
        packet_path=_packet_path(config),
        maps=[report.TableFacts(fill.name, fill.used, fill.capacity) for fill in fills],
        services=report.ServiceFacts(
            frontends=len(frontends),
            without_backends=sum(1 for serving in frontends.values() if not serving.backends),
        ),
    )


def _packet_path(config: Config) -> report.PacketFacts:
    """Ask nftables, as the agent would."""
    if not config.packet_path:
        return report.PacketFacts()
    from socklb.packets.nft import Nft  # noqa: PLC0415  (where an agent runs it is not asked)
    from socklb.packets.table import Table  # noqa: PLC0415

    try:
        with closing(Nft()) as nft:
            there = Table(nft).there()
            return report.PacketFacts(True, there, there and Table(nft).whole())
    except (SocklbError, OSError) as error:
        return report.PacketFacts(True, error=str(error))


def services(config: Config) -> list[Row]:
    """Give every frontend that the kernel serves, with its backends and, if the agent runs, its Service."""
    return _rows(config, view.read_frontends(Pins(Path(config.bpffs)).maps))


def _rows(config: Config, frontends: Mapping[Frontend, Serving]) -> list[Row]:
    names = control.ask(Path(config.socket), "services") or {}
    node_addresses = _node_addresses(Pins(Path(config.bpffs)).maps)
    rows: list[Row] = []
    for frontend, serving in frontends.items():
        text = frontend_text(frontend)
        rows.append(
            {
                "service": names.get(text),
                "type": "NodePort" if frontend.address in node_addresses else "ClusterIP",
                "frontend": text,
                "backends": [endpoint_text(backend) for backend in serving.backends],
            }
        )
    return sorted(rows, key=lambda row: (row["service"] or "", row["frontend"]))


def _node_addresses(maps: Path) -> frozenset[bytes]:
    """Give the addresses where NodePorts are: the unspecified ones, and those of nodes."""
    with closing(HashTable(maps, "node_addrs", 16, 1)) as table:
        return frozenset({ANY4, ANY6, *(address for address, _ in table.items())})


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
