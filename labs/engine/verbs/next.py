"""lab next: go on to the next step of the open lab."""

import argparse

from labs.engine.guide import open_guide
from labs.engine.language import gettext as _


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments."""
    del parser


def run(_options: argparse.Namespace) -> int:
    guide = open_guide()
    if not guide.evidence.of(guide.step.key).is_done:
        undone = _("Step {number} is not done; lab goto {number} comes back to it.")
        guide.screen.line(undone.format(number=guide.section.number))
    if guide.following is None:
        last = _("That was the last step. Next: lab check {lab}, or lab reset {lab}")
        guide.screen.line(last.format(lab=guide.lab.number))
        return 0
    guide.go(guide.following).tell_what_next()
    return 0
