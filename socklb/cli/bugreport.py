"""`socklb bugreport`: write one archive of what a maintainer asks for. Known secrets, and whatever looks like one, are
removed.

socklb bugreport                            # socklb-NODE-DATE.tar.gz, here
socklb bugreport --output /tmp/w1.tar.gz
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import suppress
from pathlib import Path

from socklb import cli, config, config_file, control_socket
from socklb.bugreport.collecting import pieces, write
from socklb.bugreport.secrets import Redactor, known
from socklb.cli.output import Verbs, say, takes_a_file
from socklb.cli.usage import usage
from socklb.errors import SocklbError


def add(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "bugreport", parents=[common], help="pack what a maintainer asks for into one archive", **usage(__doc__)
    )
    default = "default: socklb-NODE-DATE.tar.gz, here"
    takes_a_file(verb.add_argument("--output", type=Path, metavar="FILE", help=f"the archive ({default})"))
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the archive and say where it is."""
    name = f"socklb-{_node(arguments.config)}-{time.strftime('%Y%m%d-%H%M%S')}"
    output = arguments.output or Path(f"{name}.tar.gz")
    agent = _agent(arguments.config)
    redactor = Redactor(known(arguments.config, [agent] if agent else []))
    failed = write(output, name, pieces(arguments.config, agent, cli.main), redactor)
    for text in failed:
        print(f"left out: {text}", file=sys.stderr)
    say(
        f"wrote {output} ({output.stat().st_size:,} bytes). Secrets that are known were removed; look through it before"
    )
    say("you send it: it names Services, pods, addresses and processes of this node.")
    return 0


def _node(path: Path) -> str:
    with suppress(SocklbError):
        return config.load(path).node
    return "node"


def _agent(path: Path) -> int | None:
    """Return the process of the running agent, if one answers."""
    with suppress(SocklbError):
        found = control_socket.ask(config_file.agents_socket(path), "status")
        return found["agent"]["pid"] if found and "agent" in found else None
    return None
