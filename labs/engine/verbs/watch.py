"""lab watch: capture while you type elsewhere, and say of each step when it is done.

It follows the open step: `lab next` and `lab goto` in another terminal move it along. Enter here begins the step again,
or goes on when it is done. Ctrl-C leaves; the same command goes on where it was. Exit status: 0 the lab is done.
"""

import argparse
import select
import sys
import time

from labs.engine import progress
from labs.engine.guide import Guide, Left, open_guide
from labs.engine.language import gettext as _


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments."""
    del parser


def run(_options: argparse.Namespace) -> int:
    with progress.watching():
        guide = open_guide()
        while True:
            guide.tell()
            left = guide.watch(pressed)
            if left is Left.DONE:
                goes_on = finish(guide)
                if not goes_on:
                    return 0
            if progress.read_open() is None:
                guide.screen.line(_("The lab was reset."))
                return 0
            guide = open_guide()


def finish(guide: Guide) -> bool:
    """Print that the step is done; return whether to continue: not after the last one, or without a terminal."""
    number, last = guide.section.number, guide.following is None
    if last:
        guide.screen.heading(_("What you have seen"))
        guide.screen.prose(guide.lab.prose.closing)
        progress.close()
        return False
    guide.screen.line()
    guide.screen.line(_("Step {number} is done. Next: Enter, or lab next").format(number=number), "bold green")
    while not guide.is_elsewhere():
        if not sys.stdin.isatty():
            return False
        if pressed(1.0) and guide.following:
            guide.go(guide.following)
    return True


def pressed(seconds: float) -> bool:
    """Wait this many seconds for Enter, and return whether it came."""
    if not sys.stdin.isatty():
        time.sleep(seconds)
        return False
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(ready and sys.stdin.readline())
