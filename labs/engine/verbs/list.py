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
    sessions = {name: open_lab(name) for name in available()}
    width = max(map(len, sessions))
    longest = max(len(session.lab.steps) for session in sessions.values())
    for name, session in sessions.items():
        steps = session.lab.steps
        done = sum(session.evidence.of(step.key).is_done for step in steps)
        at = _(" (open)") if opened and opened.lab == name else ""
        bar = "■" * done + "□" * (len(steps) - done)
        progressed = _("{minutes:>2} min  {bar} {done} of {count} steps done")
        told = progressed.format(minutes=session.lab.minutes, bar=bar.ljust(longest), done=done, count=len(steps))
        screen.line(f"{name:<{width}} {told}{at}")
        screen.line(f"{'':<{width}} {session.lab.prose.title}", "dim")
    return 0
