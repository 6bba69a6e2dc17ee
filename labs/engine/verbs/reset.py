"""lab reset NAME: the cluster as before the lab, and nothing recorded."""

import argparse

from labs.engine.session import open_lab


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lab", metavar="NAME", help="its number, or its folder's name")


def run(options: argparse.Namespace) -> int:
    session = open_lab(options.lab)
    session.restore()
    session.evidence.remove()
    session.screen.line(f"{session.lab.name} is as before its first step.")
    return 0
