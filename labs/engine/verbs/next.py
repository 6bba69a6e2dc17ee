"""lab next: go on to the next step of the open lab."""

import argparse

from labs.engine.guide import open_guide


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments."""
    del parser


def run(_options: argparse.Namespace) -> int:
    guide = open_guide()
    if not guide.evidence.of(guide.step.key).is_done:
        guide.screen.line(f"Step {guide.section.number} is not done; lab goto {guide.section.number} comes back to it.")
    if guide.following is None:
        guide.screen.line(
            f"That was the last step. Next: lab check {guide.lab.number}, or lab reset {guide.lab.number}"
        )
        return 0
    guide.go(guide.following).tell_what_next()
    return 0
