"""`socklb status`: is this node served, by what, and is that effective?"""

from __future__ import annotations

import argparse
import time
from typing import Any

from socklb import config
from socklb.cli.output import Verbs, columns, json, say
from socklb.status import Row, collect

NO_AGENT = 3
SOCKET = "socket: connect, sendmsg"
PACKET = {True: "packet: nftables, table inet socklb", False: "not by socklb: packet_path is false"}


def add(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser("status", parents=[common], help="show whether this node is served, and by what")
    verb.add_argument("-v", "--verbose", action="store_true", help="hooks, tables and backends one by one")
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the status; exit code 3 says that no agent runs."""
    settings = config.load(arguments.config)
    found, rows = collect(settings)
    if arguments.json:
        json(found)
    else:
        _summary(found)
        if arguments.verbose:
            _details(found, rows)
    return 0 if found["agent"]["running"] else NO_AGENT


def _summary(found: dict[str, Any]) -> None:
    effective = sum(hook["effective"] for hook in found["hooks"])
    served = found["services"]
    columns(
        [
            ("Node:", found["node"]),
            ("Agent:", _agent(found["agent"])),
            ("Source:", f"{found['source']['where']}: {_source(found)}"),
            ("Hooks:", f"{effective} of {len(found['hooks'])} attached and effective on {found['cgroup']}"),
            (
                "Services:",
                f"{served['services']}, {served['frontends']} frontends, {served['without_backends']} without backends",
            ),
            ("Problems:", str(len(found["problems"]))),
        ]
    )
    for problem in found["problems"]:
        where = ":".join(str(part) for part in (problem["file"], problem["document"] or "", problem["field"]) if part)
        say(f"  {where + ': ' if where else ''}{problem['message']}")


def _agent(agent: dict[str, Any]) -> str:
    if not agent["running"]:
        return "not running; what is pinned goes on serving"
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(agent["started"]))
    return f"socklb {agent['version']}, process {agent['pid']}, since {since}"


def _source(found: dict[str, Any]) -> str:
    if not found["agent"]["running"]:
        return "not watched"
    state = "in sync" if found["synced"] else "not in sync: nothing is pruned"
    lost, reason = found["source"]["lost_since"], found["source"]["reason"]
    if lost is not None:
        state += f", but out of reach for {duration(time.time() - lost)} ({reason}); what was known then is served"
    return f"{state}, revision {found['applied']['revision']}"


def duration(seconds: float) -> str:
    """Format as people say it: `12 min 3 s`."""
    parts = zip((int(seconds) // 3600, int(seconds) // 60 % 60, int(seconds) % 60), ("h", "min", "s"), strict=True)
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"


def _served_by(packet_path: bool) -> list[tuple[str, str, str]]:
    """What serves which Service types, and for whom; tests/cluster prove each."""
    outside = "NodePort, externalIPs, LoadBalancer"
    return [
        ("ClusterIP", "TCP, UDP", SOCKET),
        (f"{outside}, from sockets of this node", "TCP, UDP", SOCKET),
        (f"{outside}, from outside", "TCP, UDP, SCTP", PACKET[packet_path]),
        ("all of them, SCTP or forwarded", "TCP, UDP, SCTP", PACKET[packet_path]),
    ]


def _details(found: dict[str, Any], rows: list[Row]) -> None:
    say("\nServed by:")
    columns(_served_by(found["packet_path"]), "  ")
    say("\nHooks:")
    columns([_hook(hook) for hook in found["hooks"]], "  ")
    if found["maps"]:
        say("\nTables:")
        columns([(m["name"], f"{m['used']} of {m['capacity']}") for m in found["maps"]], "  ")
        say("\nBackends:")
        columns([_served(row) for row in rows], "  ")


def _hook(hook: dict[str, Any]) -> tuple[str, str, str]:
    if not hook["attached"]:
        return hook["name"], "NOT ATTACHED", ""
    if not hook["effective"]:
        return (
            hook["name"],
            f"program {hook['program_id']}",
            f"NOT EFFECTIVE in {', '.join(hook['bypassed'])}",
        )
    return hook["name"], f"program {hook['program_id']}", "effective"


def _served(row: Row) -> tuple[str, str, str]:
    return row["service"] or "-", row["frontend"], " ".join(row["backends"]) or "none: refused"
