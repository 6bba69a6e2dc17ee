"""lab reset NAME: the cluster as before the lab, and nothing recorded."""

import argparse

from labs.engine import progress
from labs.engine.language import gettext as _
from labs.engine.session import open_lab


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lab", metavar="NAME", help="its number, or its folder's name")


def run(options: argparse.Namespace) -> int:
    session = open_lab(options.lab)
    session.restore()
    session.evidence.remove()
    opened = progress.read_open()
    if opened and opened.lab == session.lab.name:
        progress.close()
    session.screen.line(_("{lab} is as before its first step.").format(lab=session.lab.name))
    return 0
