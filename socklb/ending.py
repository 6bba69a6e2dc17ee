"""How a command ends, whatever ends it: an exit code and at most one line, never a traceback.

    sys.exit(ended("socklb", lambda: run(arguments), expected=SocklbError))

A reader that has seen enough (`socklb service list | head`) is no failure. An interrupt is 130, as a shell says it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

FAILED = 1
INTERRUPTED = 130


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
    """Say why in one line."""
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
