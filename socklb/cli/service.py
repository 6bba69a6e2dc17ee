"""`socklb service list`: list each frontend in the kernel with its Service, its type, the paths that serve it, and its
backends. The paths are socket and packet; a frontend without a path is not served.

socklb service list                     # every frontend
socklb service list web -n shop --wide  # one Service, with all of its backends
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from socklb import config
from socklb.cli import output
from socklb.cli.output import Verbs, backends
from socklb.cli.usage import usage
from socklb.datapath.pins import Pins
from socklb.errors import SocklbError
from socklb.status.collected import services


def add(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser("service", help="show what is served")
    acts = verb.add_subparsers(metavar="ACT", required=True)
    act = acts.add_parser("list", parents=[common], help="list frontends and their backends", **usage(__doc__))
    act.add_argument("name", nargs="?", default="", metavar="[NAMESPACE/]NAME", help="only this Service")
    act.add_argument("-n", "--namespace", default="", help="only Services of this namespace")
    act.add_argument("--wide", action="store_true", help=f"every backend; without it {output.SHOWN} of each frontend")
    act.add_argument("--json", action="store_true", help="print JSON")
    act.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a line a frontend."""
    settings = config.load(arguments.config)
    if not Pins(Path(settings.bpffs)).exist():
        raise SocklbError("no tables on this node", value=settings.bpffs, hint="socklb agent")
    namespace, _, name = arguments.name.rpartition("/")
    if namespace and arguments.namespace not in ("", namespace):
        raise SocklbError("two namespaces are named", value=f"{namespace} and {arguments.namespace}")
    namespace = namespace or arguments.namespace
    found = services(settings, namespace, name)
    if arguments.json:
        output.json(found.rows)
        return 0
    if not found.rows and (namespace or name):
        which = f"{namespace or '*'}/{name or '*'}"
        raise SocklbError("no such Service has a frontend on this node", value=which, hint="socklb service list")
    if not found.current:
        print("no agent answers: names and types are as the last agent knew them", file=sys.stderr)
    lines = [("SERVICE", "TYPE", "FRONTEND", "PATH", "BACKENDS")]
    lines += [
        (
            row["service"] or "-",
            row["type"],
            row["frontend"],
            "+".join(row["path"]) or "-",
            backends(row, wide=arguments.wide),
        )
        for row in found.rows
    ]
    output.columns(lines)
    return 0
