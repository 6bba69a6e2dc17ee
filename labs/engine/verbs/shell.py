"""lab shell PLACE [--unhooked]: open a shell in a pod or on a machine.

It is a bash of that place, with the files of its node. While a step of a lab is open, what commands say is kept for
`lab watch`; `exit` or Ctrl-D leaves it.
"""

import argparse
import sys

from labs.engine import progress, terminal
from labs.engine.errors import LabError
from labs.engine.target import find_place


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("place", metavar="PLACE", help="a pod, a node or outside, such as client or w1")
    parser.add_argument("--unhooked", action="store_true", help="outside the hooks' cgroup")


def run(options: argparse.Namespace) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise LabError(f"a shell needs a terminal. Next: lab exec {options.place} -- COMMAND")
    name = f"{options.place} (unhooked)" if options.unhooked else options.place
    words = terminal.shell_words(name)
    argv = find_place(options.place).argv(*words, hooked=not options.unhooked, terminal=True)
    listener = terminal.Listener(options.place, progress.note, hooked=not options.unhooked)
    return terminal.at_terminal(argv, listener.hear)
