"""`socklb cleanup`: detach every hook and forget every table. The only thing that does."""

from __future__ import annotations

import argparse
from pathlib import Path

from socklb import config
from socklb.cli.output import Verbs, say
from socklb.datapath.pins import Pins


def add(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser("cleanup", parents=[common], help="detach the hooks and remove the tables")
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Remove all pins of this node, unless an agent is at work."""
    pins = Pins(Path(config.load(arguments.config).bpffs))
    if not pins.root.is_dir():
        say(f"nothing to do: {pins.root} does not exist")
        return 0
    pins.lock()
    try:
        removed = pins.remove()
    finally:
        pins.unlock()
    say(f"removed {len(removed)} pins below {pins.root}; Services are no longer served on this node")
    return 0
