"""`socklb status`: is this node served, by what, and is that effective?

`socklb status --wait 60` first waits until the agent is in sync, for deploys and scripts: one process that asks
again and again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from socklb import config, control
from socklb.cli.output import Verbs, columns, json, say, seconds
from socklb.cli.served import backends, served_by
from socklb.errors import SocklbError
from socklb.report import AgentFacts, ConnectFacts, HookFacts, PacketFacts, ProblemFacts, Report

if TYPE_CHECKING:
    from socklb.status import Row

NO_AGENT = 3
NOT_IN_SYNC = 4
LOOK_AGAIN = 0.1  # seconds


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
    found = _collect(settings)
    if arguments.json:
        json(found)
    else:
        _summary(found)
        if arguments.verbose:
            _details(found, _rows(settings) if found.maps else [])
    if not found.agent.running:
        return NO_AGENT
    return NOT_IN_SYNC if arguments.wait is not None and not found.synced else 0


def _collect(settings: config.Config) -> Report:
    answer = control.ask_raw(Path(settings.socket), "status")
    if answer:
        return msgspec.json.decode(answer, type=Report)
    from socklb.status import without_agent  # noqa: PLC0415  (50 ms of CPU that an agent's answer saves)

    return without_agent(settings)


def _rows(settings: config.Config) -> list[Row]:
    from socklb.status import services  # noqa: PLC0415  (as above)

    return services(settings).rows


def _wait(socket: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not _in_sync(socket) and time.monotonic() < end:
        time.sleep(LOOK_AGAIN)


def _in_sync(socket: Path) -> bool:
    try:
        return bool((control.ask(socket, "synced") or {}).get("synced"))
    except SocklbError:  # busy
        return False


def _summary(found: Report) -> None:
    effective = sum(hook.effective for hook in found.hooks)
    served = found.services
    columns(
        [
            ("Node:", found.node),
            ("Agent:", _agent(found.agent)),
            ("Source:", f"{found.source.where}: {_source(found)}"),
            ("Hooks:", f"{effective} of {len(found.hooks)} attached and effective on {found.cgroup}"),
            *([("Connect:", _connect(found.connect))] if found.agent.running else []),
            ("Packet path:", packet_path(found.packet_path)),
            *([("Running:", _running(found))] if found.agent.running else []),
            (
                "Services:",
                f"{served.services}, {served.frontends} frontends, {served.without_backends} without backends",
            ),
            ("Problems:", str(len(found.problems))),
        ]
    )
    for problem in found.problems:
        say(f"  {_problem(problem)}")


def _problem(problem: ProblemFacts) -> str:
    place = f"{problem.file} document {problem.document}" if problem.document else problem.file
    text = ": ".join(part for part in (problem.object, place, problem.field, problem.message) if part)
    times = f", {problem.count} times" if problem.count > 1 else ""
    return f"{text} (since {_moment(problem.first)}{times})" if problem.first else text


def _agent(agent: AgentFacts) -> str:
    if not agent.running:
        return "not running; what is pinned goes on serving"
    with_object = f", {agent.object}" if agent.object else ""
    return f"socklb {agent.version}, process {agent.pid}, since {_moment(agent.started or 0)}{with_object}"


def _source(found: Report) -> str:
    if not found.agent.running:
        return "not watched"
    state = "in sync" if found.synced else "not in sync: nothing is pruned"
    if found.source.lost_since is not None:
        lost = duration(time.time() - found.source.lost_since)
        state += f", but out of reach for {lost} ({found.source.reason}); what was known then is served"
    return f"{state}, revision {found.applied.revision}"


def _connect(connect: ConnectFacts) -> str:
    """Say what became of the agent's own connect."""
    if connect.at is None:
        return "not tried yet: the hooks are to be attached first"
    states = {None: "cannot be tried", True: "translated by the hooks, tried", False: "NOT TRANSLATED"}
    text = f"{states[connect.translated]} {_moment(connect.at)}" if connect.translated else states[connect.translated]
    since = "" if connect.translated or not connect.since else f" since {_moment(connect.since)}"
    return f"{text}{since}: {connect.error}" if connect.error else text


def packet_path(path: PacketFacts) -> str:
    """Say how the packet path is."""
    if not path.enabled:
        return "not by socklb: packet_path is false"
    states = {None: "cannot be asked", True: "there and whole", False: "DAMAGED" if path.there else "NOT THERE"}
    text = f"nftables, table inet socklb: {states[path.whole]}"
    since = f" since {_moment(path.since)}" if path.since else ""
    if path.damaged:
        since += f"; mended {path.damages} times, at {_moment(path.damaged)} because {path.damage}"
    return f"{text}; FAILS{since}: {path.error}" if path.error else text + since


def _running(found: Report) -> str:
    dead = [one for one in found.running if not one.alive]
    text = f"{len(found.running) - len(dead)} of {len(found.running)} tasks and threads"
    return "; ".join([text, *(f"NOT {one.name}: {one.error or 'it is gone'}" for one in dead)])


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def duration(seconds: float) -> str:
    """Format as people say it: `12 min 3 s`."""
    parts = zip((int(seconds) // 3600, int(seconds) // 60 % 60, int(seconds) % 60), ("h", "min", "s"), strict=True)
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"


def _details(found: Report, rows: list[Row]) -> None:
    say("\nServed by:")
    columns(served_by(found), "  ")
    if found.agent.running:
        say(f"\neBPF object: {found.agent.object}")
    say("\nHooks:")
    columns([_hook(hook) for hook in found.hooks], "  ")
    if found.agent.lacks:
        say("\nThis kernel lacks:")
        columns([(feature,) for feature in found.agent.lacks], "  ")
    if found.running:
        say("\nRunning:")
        columns([(one.name, ("runs" if one.alive else "NOT RUNNING"), one.error) for one in found.running], "  ")
    if found.maps:
        say("\nTables:")
        columns([(table.name, f"{table.used} of {table.capacity}") for table in found.maps], "  ")
    if rows:
        say("\nBackends:")
        columns([_served(row) for row in rows], "  ")


def _hook(hook: HookFacts) -> tuple[str, str, str]:
    if not hook.attached:
        return hook.name, "NOT ATTACHED", ""
    if not hook.effective:
        return hook.name, f"program {hook.program_id}", f"NOT EFFECTIVE in {', '.join(hook.bypassed)}"
    return hook.name, f"program {hook.program_id}", "effective"


def _served(row: Row) -> tuple[str, str, str]:
    return row["service"] or "-", row["frontend"], backends(row, wide=False)
