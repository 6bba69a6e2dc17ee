"""`socklb service list`: what this node serves, as the kernel holds it."""

from __future__ import annotations

import argparse
from pathlib import Path

from socklb import config
from socklb.cli import output
from socklb.cli.output import Verbs
from socklb.datapath.pins import Pins
from socklb.errors import SocklbError
from socklb.status import services


def add(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser("service", help="show what is served")
    acts = verb.add_subparsers(metavar="ACT", required=True)
    act = acts.add_parser("list", parents=[common], help="list every frontend and its backends")
    act.add_argument("--json", action="store_true", help="print JSON")
    act.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a line a frontend."""
    settings = config.load(arguments.config)
    if not Pins(Path(settings.bpffs)).exist():
        raise SocklbError("no tables on this node", value=settings.bpffs, hint="socklb agent")
    rows = services(settings)
    if arguments.json:
        output.json(rows)
        return 0
    lines = [("SERVICE", "TYPE", "FRONTEND", "BACKENDS")]
    lines += [
        (row["service"] or "-", row["type"], row["frontend"], ", ".join(row["backends"]) or "none: refused")
        for row in rows
    ]
    output.columns(lines)
    return 0
