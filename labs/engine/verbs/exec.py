"""lab exec PLACE [--unhooked] -- CMD: run a command in a pod or on a machine, as the labs show it.

    lab exec w1 -- socklb status                   a node
    lab exec outside -- curl -s 172.18.0.4:32000   the client outside the cluster
    lab exec client -- ip address                  a pod, also one that `pod add` made

With --unhooked the command runs outside the cgroup that the hooks are attached to, in the same network namespace.
"""

import argparse
import os

from labs.engine.errors import CannotRunError, LabError
from labs.engine.target import find_place
from socklb.command import Parser

EXAMPLE = "lab exec client -- ip address"


def configure(parser: Parser) -> None:
    parser.usage = "lab exec [-h] [--unhooked] PLACE -- COMMAND [ARGUMENT...]"
    parser.advice = f"the command stands behind --, for example: {EXAMPLE}"
    parser.add_argument("place", metavar="PLACE", help="a pod, a node or outside, such as client or w1")
    parser.add_argument("--unhooked", action="store_true", help="outside the hooks' cgroup")


def run(options: argparse.Namespace) -> int:
    if not options.command:
        raise LabError(f"no command; for example: {EXAMPLE}")
    argv = find_place(options.place).argv(*options.command, hooked=not options.unhooked)
    try:
        os.execvp(argv[0], argv)
    except FileNotFoundError:
        raise CannotRunError(f"there is no {argv[0]} on PATH, by which {options.place} is reached") from None
