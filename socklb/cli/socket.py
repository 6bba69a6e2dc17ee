"""`socklb socket list`: list each live socket of this node that was given a backend, once per Service.

socklb socket list                      # all
socklb socket list --service shop/web   # those that asked for a Service
socklb socket list --gone               # those whose backend is there no more
"""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path

from socklb import config
from socklb.cli import output
from socklb.cli.output import Verbs
from socklb.cli.usage import usage
from socklb.datapath.pins import Pins
from socklb.errors import SocklbError
from socklb.sockets.shown import Row, Wanted, rows
from socklb.status.collected import find_cgroup

SHOWN = 2  # processes of a socket


def add(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser("socket", help="show which socket was given which backend")
    acts = verb.add_subparsers(metavar="ACT", required=True)
    act = acts.add_parser(
        "list", parents=[common], help="list live sockets that were given a backend", **usage(__doc__)
    )
    act.add_argument("--service", default="", metavar="[NAMESPACE/]NAME", help="only those that asked for this Service")
    act.add_argument("--pod", default="", metavar="POD", help="only this pod's: [NAMESPACE/]NAME, UID, or cgroup")
    act.add_argument("--backend", default="", metavar="ADDRESS[:PORT]", help="only those that were given this one")
    act.add_argument("--gone", action="store_true", help="only those whose backend is gone")
    act.add_argument("--json", action="store_true", help="print JSON")
    act.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a line a socket and Service."""
    settings = config.load(arguments.config)
    pins = Pins(Path(settings.bpffs))
    if not pins.exist():
        raise SocklbError("no tables on this node", value=settings.bpffs, hint="socklb agent")
    gc.disable()  # a million tuples of which none is in a circle: half of the time
    wanted = Wanted(arguments.service, arguments.pod, arguments.backend, arguments.gone)
    found, current = rows(settings, pins.maps, find_cgroup(settings), wanted)
    if not current:
        print("no agent answers: names are as the last one knew them, and 'gone' may be 'terminating'", file=sys.stderr)
    if arguments.json:
        output.json(found)
        return 0
    lines = [("PROTOCOL", "SERVICE", "ASKED", "BACKEND", "STATE", "POD", "NETWORK", "PROCESS")]
    output.columns([*lines, *map(_line, found)])
    return 0


def _line(row: Row) -> tuple[str, ...]:
    pod = row["pod"] or row["pod_uid"] or row["cgroup"] or "-"
    network = row["network"] or str(row["network_id"])
    return row["protocol"], row["service"] or "-", row["asked"], row["backend"], row["state"], pod, network, _who(row)


def _who(row: Row) -> str:
    processes = [f"{one['pid']}/{one['command']}" for one in row["processes"]]
    more = len(processes) - SHOWN
    return ", ".join(processes[:SHOWN]) + (f" and {more} more" if more > 0 else "") or "-"
