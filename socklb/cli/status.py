"""`socklb status`: show whether this node is served, by what, and whether that is effective.

socklb status --verbose         # every hook, every table, the backends of every Service
socklb status --wait 60         # first waits until the agent is in sync, for deploys and scripts
socklb status --json

To wait is one process that asks again and again. Where an agent runs it gives the text too: what a report is need not
be imported, half of the time that this command takes.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from socklb import config_file, control_socket
from socklb.cli.output import Verbs, backends, columns, json, say, seconds
from socklb.cli.usage import CODES, STATUS_CODES, usage
from socklb.errors import SocklbError

NO_AGENT = 3
NOT_IN_SYNC = 4
LOOK_AGAIN = 0.1  # seconds


def add(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "status",
        parents=[common],
        help="show whether this node is served, and by what",
        **usage(__doc__, {**CODES, **STATUS_CODES}),
    )
    verb.add_argument("-v", "--verbose", action="store_true", help="also hooks, tables and backends one by one")
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb.add_argument(
        "--wait", type=seconds, metavar="SECONDS", help="wait until the agent is in sync, at most this long"
    )
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the status. Exit code 3 says that no agent runs, 4 that it was waited for in vain."""
    socket = config_file.agents_socket(arguments.config)
    if arguments.wait is not None:
        _check(arguments.config)
        _wait(socket, arguments.wait)
    found = _ask(socket, arguments)
    if found is None:
        _without_agent(arguments)
        return NO_AGENT
    if arguments.json:
        json(found)
    else:
        say(found["text"])
        if arguments.verbose:
            _backends(arguments.config)
    return NOT_IN_SYNC if arguments.wait is not None and not found["synced"] else 0


def _ask(socket: Path, arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Ask the agent for what is to be printed; None if none runs."""
    question = "status" if arguments.json else f"summary {'verbose' if arguments.verbose else ''}"
    found = control_socket.ask(socket, question)
    if found and "error" in found:
        hint = "restart it if it is of another version than this command"
        raise SocklbError(f"the agent gives no answer: {found['error']}", value=socket, hint=hint)
    return found


def _without_agent(arguments: argparse.Namespace) -> None:
    """Print what the kernel shows."""
    import msgspec  # noqa: PLC0415  (what an agent's answer saves, here and below)

    from socklb import config  # noqa: PLC0415
    from socklb.status import collected, summary  # noqa: PLC0415

    found = collected.without_agent(config.load(arguments.config))
    if arguments.json:
        json(msgspec.to_builtins(found))
    else:
        say(summary.text(found, verbose=arguments.verbose))
        if arguments.verbose and found.maps:
            _backends(arguments.config)


def _check(path: Path) -> None:
    """Tell what is wrong in the configuration before anybody waits."""
    from socklb import config  # noqa: PLC0415

    config.load(path)


def _backends(path: Path) -> None:
    """Print who serves each frontend."""
    from socklb import config  # noqa: PLC0415
    from socklb.status import collected  # noqa: PLC0415

    rows = collected.services(config.load(path)).rows
    if rows:
        say("\nBackends:")
        columns([(row["service"] or "-", row["frontend"], backends(row, wide=False)) for row in rows], "  ")


def _wait(socket: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not _in_sync(socket) and time.monotonic() < end:
        time.sleep(LOOK_AGAIN)


def _in_sync(socket: Path) -> bool:
    try:
        return bool((control_socket.ask(socket, "synced") or {}).get("synced"))
    except SocklbError:  # busy
        return False
