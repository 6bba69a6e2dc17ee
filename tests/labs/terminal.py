"""A terminal with a program in it, and somebody who types and reads."""

import os
import pty
import re
import select
import signal
import sys
import time
from pathlib import Path

from labs.engine.places import ROOT

LAB = str(Path(sys.executable).with_name("lab"))
PATIENCE = 60.0


class Terminal:
    """`lab` at a terminal of its own. What it said since the last expect() is `shown`."""

    def __init__(self, *words: str) -> None:
        self.shown = ""
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execv(LAB, [LAB, *words])

    def type(self, line: str) -> None:
        os.write(self._file, f"{line}\n".encode())

    def expect(self, pattern: str) -> str:
        """Wait until it says this, and return all that it said until then."""
        end = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.shown)):
            assert time.monotonic() < end, f"no {pattern!r} in:\n{self.shown}"
            ready, _, _ = select.select([self._file], [], [], 0.5)
            if ready:
                self.shown += self._read()
        until, self.shown = self.shown[: found.end()], self.shown[found.end() :]
        return until

    def interrupt(self) -> None:
        """Type Ctrl-C."""
        os.write(self._file, b"\x03")

    def hang_up(self) -> None:
        """Close the terminal, as who closes its window does."""
        os.close(self._file)
        os.waitpid(self.pid, 0)

    def end(self) -> int:
        """Wait for its end and return the exit status."""
        while self._read(quiet=True):
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self._file)
        return os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self._file)
        except (ProcessLookupError, ChildProcessError, OSError):
            pass  # it has ended

    def _read(self, *, quiet: bool = False) -> str:
        try:
            return os.read(self._file, 65536).decode(errors="replace")
        except OSError:  # nobody is at the other end any more
            assert quiet, f"it has ended:\n{self.shown}"
            return ""
