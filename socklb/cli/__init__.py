"""The `socklb` command: one module a verb, each with `add` (its arguments) and `run` (parse, act, report).

Exit codes: 0 done; 1 failed, with the reason on stderr; 2 wrong usage; 3 `status` found no running agent;
4 `status --wait` found none in sync in time.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from socklb import __version__
from socklb.cli import agent, cleanup, service, status
from socklb.config import DEFAULT_PATH
from socklb.errors import SocklbError

VERBS = (agent, status, service, cleanup)


def main(argv: list[str] | None = None) -> int:
    """Run a verb and give its exit code."""
    arguments = parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except SocklbError as error:
        print(f"socklb: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader has seen enough: `socklb service list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    top = argparse.ArgumentParser(prog="socklb", description="Services resolved at connect(), not on the packet.")
    top.add_argument("--version", action="version", version=f"socklb {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config",
        type=Path,
        default=DEFAULT_PATH,
        metavar="FILE",
        help=f"configuration (default: {DEFAULT_PATH})",
    )
    verbs = top.add_subparsers(metavar="VERB", required=True)
    for verb in VERBS:
        verb.add(verbs, common)
    return top
