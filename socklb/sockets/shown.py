"""The rows of `socklb socket list`, and the filter for them.

rows, current = rows(config, maps, cgroup, Wanted(service="shop/web"))
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from socklb.config import Config
from socklb.model import PROTOCOLS, endpoint_text
from socklb.sockets.descriptors import command
from socklb.sockets.diag import IPPROTO_MPTCP
from socklb.sockets.listing import Found, listing
from socklb.sockets.names import GONE, Names, Target
from socklb.sockets.pods import Pod

Row = dict[str, Any]


class Wanted(NamedTuple):
    """Which rows are wanted; empty: any."""

    service: str = ""
    pod: str = ""
    backend: str = ""
    gone: bool = False


def rows(config: Config, maps: Path, cgroup: Path, wanted: Wanted) -> tuple[list[Row], bool]:
    """Return the rows, and whether a running agent provided the names and conditions."""
    names = Names(config, maps)
    named = [(found, names.target(found.record.asked, found.live.protocol)) for found in listing(maps, cgroup)]
    chosen = [(found, target) for found, target in named if _is_wanted(found, target, wanted)]
    names.learn({target.service for _, target in chosen if target.service})
    name_of = cache(command)
    told = [_row(found, target, names.state(target, found.record.given), name_of) for found, target in chosen]
    return [row for row in told if row["state"] == GONE or not wanted.gone], names.current


def _is_wanted(found: Found, target: Target, wanted: Wanted) -> bool:
    address, _, _ = (given := endpoint_text(found.record.given)).rpartition(":")
    return (
        is_named(wanted.service, target.service or "")
        and is_of(wanted.pod, found.pod)
        and wanted.backend in ("", given, address, address.strip("[]"))
    )


def is_named(wanted: str, key: str) -> bool:
    """Return whether a NAMESPACE/NAME matches what is wanted, in full or by the name alone."""
    return wanted in ("", key) or wanted == key.rpartition("/")[2]


def is_of(wanted: str, pod: Pod) -> bool:
    """Return whether a pod matches what is wanted, by name, UID or cgroup."""
    return is_named(wanted, pod.name) or wanted in (pod.uid, pod.cgroup, pod.cgroup.lstrip("/"))


def _row(found: Found, target: Target, state: str, name_of: Callable[[int], str]) -> Row:
    live, record, pod = found.live, found.record, found.pod
    return {
        "protocol": "MPTCP" if live.protocol == IPPROTO_MPTCP else PROTOCOLS[live.protocol],
        "service": target.service,
        "asked": endpoint_text(record.asked),
        "backend": endpoint_text(record.given),
        "state": state,
        "connected": live.connected,
        "local": endpoint_text(live.local),
        "pod": pod.name,
        "pod_uid": pod.uid,
        "container": pod.container,
        "cgroup": pod.cgroup,
        "network": found.network,
        "network_id": live.network,
        "processes": [{"pid": pid, "command": name_of(pid)} for pid in dict.fromkeys(one.pid for one in found.holders)],
        "cookie": live.cookie,
    }
