"""lab list: the labs there are, the minutes that each takes, and which of their steps are done."""

import argparse

from labs.engine import progress
from labs.engine.language import gettext as _
from labs.engine.model import available
from labs.engine.screen import Screen
from labs.engine.session import open_lab


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments."""
    del parser


def run(_options: argparse.Namespace) -> int:
    screen, opened = Screen(), progress.read_open()
    for name in available():
        session = open_lab(name)
        steps = session.lab.steps
        done = sum(session.evidence.of(step.key).is_done for step in steps)
        at = _(" (open)") if opened and opened.lab == name else ""
        bar = "■" * done + "□" * (len(steps) - done)
        progressed = _("{minutes:>3} min  {bar:<10} {done} of {count} steps done")
        told = progressed.format(minutes=session.lab.minutes, bar=bar, done=done, count=len(steps))
        screen.line(f"{name:<18} {told}{at}")
        screen.line(f"{'':<18} {session.lab.prose.title}", "dim")
    return 0
