"""lab exec PLACE [--unhooked] -- CMD: run a command in a pod or on a node, as the labs show it.

With --unhooked the command runs outside the cgroup that the hooks are attached to, in the same network namespace.
"""

import argparse
import os

from labs.engine.cluster import read_cluster
from labs.engine.errors import LabError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("place", metavar="PLACE", help="a pod or a node, such as client or w1")
    parser.add_argument("--unhooked", action="store_true", help="outside the hooks' cgroup")


def run(options: argparse.Namespace) -> int:
    if not options.command:
        raise LabError("no command; for example: lab exec client -- ip address")
    argv = read_cluster().place(options.place).argv(*options.command, hooked=not options.unhooked)
    os.execvp(argv[0], argv)
