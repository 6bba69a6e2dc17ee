"""The `lab` command: one verb a module in labs/engine/verbs/, each with configure() and run()."""

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

from inventory.connectors.host import NodeError
from inventory.reach import NotSupportedError
from labs.engine.errors import LabError
from labs.engine.verbs import check, exec, list, reset, run, start  # noqa: A004 - verbs, never called as built-ins here

VERBS: dict[str, ModuleType] = {
    "list": list,
    "start": start,
    "run": run,
    "check": check,
    "reset": reset,
    "exec": exec,
}


def main(words: Sequence[str] | None = None) -> int:
    typed = [*(sys.argv[1:] if words is None else words)]
    split = typed.index("--") if "--" in typed else len(typed)  # what follows is for another command
    options = _parser().parse_args(typed[:split])
    options.command = typed[split + 1 :]
    try:
        return VERBS[options.verb].run(options)
    except LabError as error:
        return _fail(str(error), error.exit_code)
    except (NodeError, NotSupportedError) as error:
        return _fail(str(error), 3)
    except KeyboardInterrupt:
        return _fail("interrupted. Next: lab reset, or lab run again", 130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description="Guided labs that show and prove socket load balancing.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, verb in VERBS.items():
        about = (verb.__doc__ or "").strip()
        one = verbs.add_parser(
            name,
            help=about.splitlines()[0].partition(": ")[2],
            description=about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.configure(one)
    return parser


def _fail(why: str, code: int) -> int:
    print(f"lab: {why}", file=sys.stderr)
    return code
