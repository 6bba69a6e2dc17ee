"""lab list: the labs there are, and which of their steps are recorded."""

import argparse

from labs.engine.model import available
from labs.engine.screen import Screen
from labs.engine.session import open_lab


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments."""
    del parser


def run(_options: argparse.Namespace) -> int:
    screen = Screen()
    for name in available():
        session = open_lab(name)
        steps = session.lab.steps
        done = sum(session.evidence.of(step.key).recorded is not None for step in steps)
        screen.line(f"{name:<16} {done} of {len(steps)} steps done   {session.lab.prose.title}")
    return 0
