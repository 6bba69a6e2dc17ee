"""lab solve: type what the open step asks for.

Where `lab watch` runs in another terminal, it sees it as if you had typed it. Elsewhere the step is done and judged
here. Exit status as of `lab run`.
"""

import argparse

from labs.engine import progress
from labs.engine.guide import open_guide
from labs.engine.runner import exit_code, perform, run_step


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments."""
    del parser


def run(_options: argparse.Namespace) -> int:
    guide = open_guide()
    env = guide.session.env(guide.step)
    if progress.is_watched():
        for output in perform(guide.step, env):
            progress.note(output)
        return 0
    result = run_step(guide.lab, guide.step, env, guide.evidence, strict=False)
    return exit_code(result.claims)
