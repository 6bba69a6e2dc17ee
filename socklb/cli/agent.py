"""`socklb agent`: serve this node in the foreground, until SIGTERM or SIGINT. Hooks and tables stay and go on serving.

Log lines go to stderr.

socklb agent --config /etc/socklb/socklb.toml
"""

from __future__ import annotations

import argparse
import logging

from socklb import config
from socklb.cli.output import Verbs
from socklb.cli.usage import usage


def add(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser("agent", parents=[common], help="serve this node until it is stopped", **usage(__doc__))
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    # Here, for the other verbs would pay for it: 0.2 s of CPU.
    import asyncio  # noqa: PLC0415
    import faulthandler  # noqa: PLC0415

    from socklb import memory  # noqa: PLC0415
    from socklb.agent.agent import serve  # noqa: PLC0415

    found = config.load(arguments.config)
    log_from(found.log_level)
    faulthandler.enable()  # what a fault in a library's own code ends says where, in the log
    memory.collect_less_often()
    asyncio.run(serve(found))
    return 0


def log_from(level: str) -> None:
    """Log to stderr from this level on. At `debug` only what is ours: libraries would log what the API answers."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(level=max(number, logging.INFO), format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("socklb").setLevel(number)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells of every change at INFO
