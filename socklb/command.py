"""What the commands `socklb` and `lab` have in common: how they are read and how they end.

    sys.exit(ended("socklb", lambda: run(Parser().read(sys.argv[1:]))))

Whatever ends a command, there is an exit code and at most one line, never a traceback. A reader that has seen enough
(`socklb service list | head`) is no failure. An interrupt is 130, as a shell says it.
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
    """A flag is what it is called: with abbreviations none could be renamed or added later.

    advice: what helps whoever typed words that are too many.
    """

    advice = ""

    def __init__(self, **given: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **given)
        self.set_defaults(parser=self)  # the innermost: that of the verb which was typed
        self._verbs: Mapping[str, Parser] = {}

    def add_subparsers(self, **given: Any) -> Any:
        """Have verbs."""
        found: Any = super().add_subparsers(**given)
        self._verbs = found.choices
        return found

    @property
    def verbs(self) -> list[Parser]:
        """The parsers of its verbs."""
        return list(self._verbs.values())

    def read(self, typed: Sequence[str]) -> argparse.Namespace:
        """Read a command line; what is wrong is told with the usage of the verb, not with that of all verbs."""
        found, extra = self.parse_known_args(typed)
        if extra:
            chosen: Parser = found.parser
            chosen.error(f"unrecognized arguments: {' '.join(extra)}{chosen.advice and '; ' + chosen.advice}")
        return found


def ended(program: str, run: Callable[[], int], *, interrupted: str = "interrupted") -> int:
    """Run a command and give its exit code. Its own errors are its own affair."""
    _open_what_is_closed()
    code = 0
    try:
        try:
            code = run()
        finally:  # also what argparse printed before it exits; at Python's own end a failure would be a traceback
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
    """Return why in one line."""
    print(f"{program}: {why}", file=sys.stderr)
    return code


def _told(error: OSError) -> str:
    what = error.strerror or str(error)
    return f"{what}: {error.filename}" if error.filename else what


def _write_no_more() -> None:
    """What is buffered for a reader that is gone goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _open_what_is_closed() -> None:
    """Whoever started us may have closed the outputs (`>&-`): Python has None in their place."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process
    if sys.stderr is None:
        sys.stderr = sys.stdout
