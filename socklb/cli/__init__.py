"""The `socklb` command: one module a verb, each with `add` (its arguments) and `run` (parse, act, report).

Exit codes: 0 done; 1 failed, with the reason on stderr; 2 wrong usage; 3 `status` found no running agent;
4 `status --wait` found none in sync in time; 5 `check` found something that does not work; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from socklb import __version__
from socklb.cli.output import takes_a_file
from socklb.cli.usage import CHECK_CODES, CODES, STATUS_CODES, codes_text
from socklb.command import FAILED, Parser, ended, fail
from socklb.config_file import DEFAULT_PATH
from socklb.errors import SocklbError

VERBS = (
    "agent",
    "status",
    "service",
    "socket",
    "flow",
    "explain",
    "monitor",
    "check",
    "bugreport",
    "completion",
    "cleanup",
)
FOR_EVERYBODY = ("socklb.cli.completion",)
EPILOG = f"""\
examples:
  socklb status --wait 60
  socklb --config /etc/socklb/other.toml service list
  socklb explain --help

{codes_text({**CODES, **STATUS_CODES, **CHECK_CODES})}"""


def main(argv: list[str] | None = None) -> int:
    """Run a verb and give its exit code."""
    typed = sys.argv[1:] if argv is None else argv
    return ended("socklb", lambda: _run(typed))


def _run(typed: list[str]) -> int:
    arguments = parser(_named(typed)).read(typed)
    try:
        if arguments.run.__module__ not in FOR_EVERYBODY:
            _refuse_all_but_root(typed)
        return int(arguments.run(arguments))
    except SocklbError as error:
        return fail("socklb", str(error), FAILED)


def _refuse_all_but_root(typed: list[str]) -> None:
    """Hooks and tables are root's: to anybody else what is there would seem not to be."""
    user = os.geteuid()
    if user:
        raise SocklbError("only root can do this", value=f"user id {user}", hint=shlex.join(["sudo", "socklb", *typed]))


def _named(typed: list[str]) -> Sequence[str]:
    """Return the verbs that may be meant: what the others import would cost each command as much as it does itself."""
    return [verb for verb in VERBS if verb in typed] or VERBS


def parser(names: Sequence[str] = VERBS) -> Parser:
    """Build the command line, with these verbs."""
    top = Parser(prog="socklb", description="Services resolved at connect(), not on the packet.", epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"socklb {__version__}")
    config: dict[str, Any] = {"type": Path, "metavar": "FILE", "help": f"configuration (default: {DEFAULT_PATH})"}
    takes_a_file(top.add_argument("--config", default=DEFAULT_PATH, **config))
    common = Parser(add_help=False)
    takes_a_file(common.add_argument("--config", default=argparse.SUPPRESS, **config))  # before the verb counts too
    verbs = top.add_subparsers(metavar="VERB", required=True)
    for name in names:
        import_module(f"socklb.cli.{name}").add(verbs, common)
    return top
