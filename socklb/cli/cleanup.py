"""`socklb cleanup`: detach every hook and remove every table of this node, those of the packet path too. No other
command does this. It fails while an agent runs.

socklb cleanup
"""

from __future__ import annotations

import argparse
from pathlib import Path

from socklb import config
from socklb.cli.output import Verbs, say
from socklb.cli.usage import usage
from socklb.datapath.pins import Pins


def add(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "cleanup", parents=[common], help="detach the hooks and remove the tables", **usage(__doc__)
    )
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Remove all pins of this node, unless an agent is at work."""
    from socklb.routes.node_routes import remove_all  # noqa: PLC0415  (what no other verb needs costs them 30 ms)
    from socklb.tc import links  # noqa: PLC0415  (as above)
    from socklb.tc.takeover import remove_table  # noqa: PLC0415  (as above)

    found = config.load(arguments.config)
    pins = Pins(Path(found.bpffs), Path(found.socket).parent)
    if not pins.root.is_dir():
        remove_all()
        if found.packet_path and links.remove(pins.tc_links) + remove_table():
            say("removed the packet path; Services are no longer served on this node")
            return 0
        say(f"nothing to do: {pins.root} does not exist")
        return 0
    pins.lock()
    try:
        if found.packet_path:
            links.remove(pins.tc_links)
            remove_table()
        removed = pins.remove()
        remove_all()
    finally:
        pins.unlock()
    say(f"removed {len(removed)} pins below {pins.root}; Services are no longer served on this node")
    return 0
