"""`socklb status`: is this node served, by what, and is that effective?"""

from __future__ import annotations

import argparse
import time
from typing import Any

from socklb import config
from socklb.cli.output import Verbs, columns, json, say
from socklb.status import Row, collect

NO_AGENT = 3
SERVED_BY = (  # what serves which Service types; kept honest by tests/cluster
    ("ClusterIP", "TCP, UDP", "socket: connect, sendmsg"),
    ("NodePort, from sockets of this node", "TCP, UDP", "socket: connect, sendmsg"),
    ("NodePort, from outside", "-", "not served yet"),
    ("externalIPs, LoadBalancer", "-", "not served yet"),
    ("SCTP", "-", "not served yet"),
)


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
            ("Source:", f"{found['manifests']}: {_source(found)}"),
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
    return f"{state}, revision {found['applied']['revision']}"


def _details(found: dict[str, Any], rows: list[Row]) -> None:
    say("\nServed by:")
    columns(SERVED_BY, "  ")
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
