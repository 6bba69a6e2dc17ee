"""What the commands `socklb` and `lab` have in common: how their arguments are read and how they end.

    sys.exit(ended("socklb", lambda: run(Parser().read(sys.argv[1:]))))

However a command ends, there is an exit code and at most one line, never a traceback. A reader that has seen enough
(`socklb service list | head`) is not a failure. An interrupt is 130, as in a shell.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

FAILED = 1
INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """A parser without abbreviations of flags: with them no flag could be renamed or added later.

    advice: a hint if there are too many arguments.
    """

    advice = ""

    def __init__(self, **given: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **given)
        self.set_defaults(parser=self)  # the innermost one: that of the given verb
        self._verbs: Mapping[str, Parser] = {}

    def add_subparsers(self, **given: Any) -> Any:
        """Add verbs."""
        found: Any = super().add_subparsers(**given)
        self._verbs = found.choices
        return found

    @property
    def verbs(self) -> list[Parser]:
        """Return the parsers of its verbs."""
        return list(self._verbs.values())

    def read(self, typed: Sequence[str]) -> argparse.Namespace:
        """Parse a command line; an error is shown with the usage of the verb, not with that of all verbs."""
        found, extra = self.parse_known_args(typed)
        if extra:
            chosen: Parser = found.parser
            chosen.error(f"unrecognized arguments: {' '.join(extra)}{chosen.advice and '; ' + chosen.advice}")
        return found


def ended(program: str, run: Callable[[], int], *, interrupted: str = "interrupted") -> int:
    """Run a command and return its exit code. It handles its own errors itself."""
    _open_what_is_closed()
    code = 0
    try:
        try:
            code = run()
        finally:  # also for argparse's output before it exits; a failure at Python's own exit would be a traceback
            _flush()
    except BrokenPipeError:
        _write_no_more()
    except KeyboardInterrupt:
        return fail(program, interrupted, INTERRUPTED)
    except OSError as error:
        _write_no_more()
        return fail(program, _told(error), FAILED)
    return code


def fail(program: str, why: str, code: int) -> int:
    """Print why, in one line, and return the exit code."""
    print(f"{program}: {why}", file=sys.stderr)
    return code


def _told(error: OSError) -> str:
    what = error.strerror or str(error)
    return f"{what}: {error.filename}" if error.filename else what


def _write_no_more() -> None:
    """Discard what is buffered for a reader that is gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _open_what_is_closed() -> None:
    """Open the outputs that the parent process closed (`>&-`): Python has None in their place."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process
    if sys.stderr is None:
        sys.stderr = sys.stdout
