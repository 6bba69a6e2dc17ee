"""The `lab` command: one verb per module in labs/engine/verbs/, each with configure() and run().

Only the verb that was typed is imported, because `lab exec` is typed often, and importing a lab's engine takes long.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from inventory.connectors.this_machine import NodeError
from inventory.hosts import InventoryError
from inventory.reach import NotSupportedError
from labs.engine.errors import LabError
from labs.engine.language import LANGUAGES, choose, told
from socklb.command import Parser, ended, fail

VERBS = (
    "list",
    "start",
    "watch",
    "hint",
    "solve",
    "next",
    "goto",
    "show",
    "run",
    "check",
    "report",
    "reset",
    "exec",
    "shell",
)
USAGE = 2
CANNOT_RUN = 3


def main(words: Sequence[str] | None = None) -> int:
    """Run a verb and return its exit code."""
    typed = [*(sys.argv[1:] if words is None else words)]
    return ended("lab", lambda: _run(typed), interrupted="interrupted. Next: the same command again, or lab reset")


def _run(typed: list[str]) -> int:
    split = typed.index("--") if "--" in typed else len(typed)  # what follows belongs to another command
    options = _parser(typed[:1]).read(typed[:split])
    options.command = typed[split + 1 :]
    choose(options.lang)
    try:
        return _module(options.verb).run(options)
    except LabError as error:
        return fail("lab", told(str(error)), error.exit_code)
    except InventoryError as error:
        return fail("lab", told(str(error)), USAGE)
    except (NodeError, NotSupportedError) as error:
        return fail("lab", told(str(error)), CANNOT_RUN)


def _parser(first: Sequence[str]) -> Parser:
    """Build the command line: for the verb that was typed first, or for all if none was."""
    parser = Parser(prog="lab", description="Guided labs that show and prove socket load balancing.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name in [verb for verb in VERBS if verb in first] or VERBS:
        verb = _module(name)
        about = (verb.__doc__ or "").strip()
        one = verbs.add_parser(name, help=about.splitlines()[0].partition(": ")[2], description=about)
        one.add_argument("--lang", choices=LANGUAGES, help="the language it is told in; without it, the locale's")
        verb.configure(one)
    return parser


def _module(verb: str) -> ModuleType:
    return import_module(f"labs.engine.verbs.{verb}")
