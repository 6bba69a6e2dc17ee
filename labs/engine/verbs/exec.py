"""lab exec PLACE [--unhooked] -- CMD: run a command in a pod or on a machine, as the labs show it.

    lab exec w1 -- socklb status                   a node
    lab exec outside -- curl -s 172.18.0.4:32000   the client outside the cluster
    lab exec client -- ip address                  a pod, also one that `pod add` made

With --unhooked the command runs outside the cgroup that the hooks are attached to, in the same network namespace. While
a step of a lab is open, what the command says is kept for `lab watch`.
"""

import argparse
import os
import sys

from labs.engine import progress
from labs.engine.errors import CannotRunError, LabError
from labs.engine.places import Output, at
from labs.engine.target import find_place
from socklb.command import Parser

EXAMPLE = "lab exec client -- ip address"


def configure(parser: Parser) -> None:
    parser.usage = "lab exec [-h] [--lang LANGUAGE] [--unhooked] PLACE -- COMMAND [ARGUMENT...]"
    parser.advice = f"the command stands behind --, for example: {EXAMPLE}"
    parser.add_argument("place", metavar="PLACE", help="a pod, a node or outside, such as client or w1")
    parser.add_argument("--unhooked", action="store_true", help="outside the hooks' cgroup")


def run(options: argparse.Namespace) -> int:
    if not options.command:
        raise LabError(f"no command; for example: {EXAMPLE}")
    at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    command = at(options.place, *options.command, hooked=not options.unhooked)
    argv = find_place(options.place).argv(*command.words, hooked=command.hooked, terminal=at_terminal)
    try:
        if progress.read_open() is None:
            os.execvp(argv[0], argv)
        from labs.engine import terminal  # noqa: PLC0415 - only where a step is open

        status, out, err = terminal.run(argv)
    except FileNotFoundError:
        raise CannotRunError(f"there is no {argv[0]} on PATH, by which {options.place} is reached") from None
    progress.note(Output(command.typed, status, out, err, command.place, command.words, command.hooked))
    return status if status >= 0 else 128 - status
