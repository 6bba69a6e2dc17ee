"""`socklb agent`: serve this node, in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import logging

from socklb import config, memory
from socklb.agent import serve
from socklb.cli.output import Verbs


def add(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser("agent", parents=[common], help="serve this node until it is stopped")
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells of every change at INFO
    memory.collect_less_often()
    asyncio.run(serve(config.load(arguments.config)))
    return 0
