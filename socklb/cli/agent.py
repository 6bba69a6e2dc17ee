"""`socklb agent`: serve this node, in the foreground."""

from __future__ import annotations

import argparse
import logging

from socklb import config
from socklb.cli.output import Verbs


def add(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser("agent", parents=[common], help="serve this node until it is stopped")
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    # Here, for the other verbs would pay for it: 0.2 s of CPU.
    import asyncio  # noqa: PLC0415

    from socklb import memory  # noqa: PLC0415
    from socklb.agent import serve  # noqa: PLC0415

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells of every change at INFO
    memory.collect_less_often()
    asyncio.run(serve(config.load(arguments.config)))
    return 0
