"""What is true on this node: hooks and tables as the kernel shows them, the rest as the running agent tells it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from socklb import __version__, control
from socklb.api.source import Reach
from socklb.config import Config
from socklb.datapath import hooks, mounts, view
from socklb.datapath.maps import HashTable
from socklb.datapath.pins import Pins
from socklb.errors import SocklbError
from socklb.serving import ANY4, ANY6, Frontend, Serving, endpoint_text, frontend_text

NO_AGENT: dict[str, Any] = {
    "agent": {"running": False, "pid": None, "version": __version__, "started": None},
    "source": Reach("the agent's source")._asdict(),
    "synced": False,
    "applied": {"revision": 0, "objects": {}},
    "problems": [],
    "writes": {},
    "listening": {},
}


Row = dict[str, Any]


def collect(config: Config) -> tuple[dict[str, Any], list[Row]]:
    """Give the status as one document, and the rows of `services`, whether or not an agent runs."""
    pins, cgroup = Pins(Path(config.bpffs)), find_cgroup(config)
    frontends = view.read_frontends(pins.maps) if pins.exist() else {}
    rows = _rows(config, frontends) if pins.exist() else []
    status = {
        **(control.ask(Path(config.socket), "status") or NO_AGENT),
        "node": config.node,
        "cgroup": str(cgroup),
        "packet_path": config.packet_path,
        "hooks": [asdict(hook) for hook in hooks.inspect(cgroup, pins.links)],
        "maps": [asdict(fill) for fill in view.fill(pins.maps, frontends)] if pins.exist() else [],
        "services": {
            "services": len({row["service"] for row in rows if row["service"]}),
            "frontends": len(rows),
            "without_backends": sum(1 for row in rows if not row["backends"]),
        },
    }
    return status, rows


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
