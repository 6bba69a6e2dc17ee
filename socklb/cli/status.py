"""`socklb status`: is this node served, by what, and is that effective?

`socklb status --wait 60` first waits until the agent is in sync, for deploys and scripts: one process that asks
again and again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from socklb import config, control
from socklb.cli.output import Verbs, columns, json, say, seconds
from socklb.errors import SocklbError
from socklb.status import Row, collect

NO_AGENT = 3
NOT_IN_SYNC = 4
LOOK_AGAIN = 0.1  # seconds
SOCKET = "socket: connect, sendmsg"
PACKET = {True: "packet: nftables, table inet socklb", False: "not by socklb: packet_path is false"}


def add(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser("status", parents=[common], help="show whether this node is served, and by what")
    verb.add_argument("-v", "--verbose", action="store_true", help="hooks, tables and backends one by one")
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb.add_argument("--wait", type=seconds, metavar="SECONDS", help="wait so long at most until the agent is in sync")
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the status. Exit code 3 says that no agent runs, 4 that it was waited for in vain."""
    settings = config.load(arguments.config)
    if arguments.wait is not None:
        _wait(Path(settings.socket), arguments.wait)
    found, rows = collect(settings)
    if arguments.json:
        json(found)
    else:
        _summary(found)
        if arguments.verbose:
            _details(found, rows)
    if not found["agent"]["running"]:
        return NO_AGENT
    return NOT_IN_SYNC if arguments.wait is not None and not found["synced"] else 0


def _wait(socket: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not _in_sync(socket) and time.monotonic() < end:
        time.sleep(LOOK_AGAIN)


def _in_sync(socket: Path) -> bool:
    try:
        return bool((control.ask(socket, "status") or {}).get("synced"))
    except SocklbError:  # busy
        return False


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
