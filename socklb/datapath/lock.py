"""One agent at a time serves a node: only the holder of the lock writes.

There are two locks, both in places that only root can access: a file beside the agent's socket, and the folder of the
pins. Agents up to 0.1 hold only the second one.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from socklb.errors import SocklbError

NAME = "agent.lock"


class Lock:
    """Held from `take` until `release` or the end of the process."""

    def __init__(self, root: Path, run: Path | None) -> None:
        """Set the folder of the pins, and that of the agent's socket, if it has one."""
        self._root, self._run = root, run
        self._held: list[int] = []

    def take(self) -> None:
        """Acquire the lock.

        Raises:
            SocklbError: another process has it, or the file cannot be made.
        """
        try:
            if self._run:
                self._run.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._hold(self._run / NAME, os.O_RDWR | os.O_CREAT)
            self._hold(self._root, os.O_RDONLY | os.O_DIRECTORY)
        except BlockingIOError:
            self.release()
            raise SocklbError(
                f"another agent serves this node: it holds the lock on {self._root}",
                hint="stop that one first; 'socklb status' names its process",
            ) from None
        except OSError as error:
            self.release()
            raise SocklbError(
                f"cannot take the lock of this node: {error.strerror}",
                value=error.filename,
                valid="root, and a folder that it may write to",
            ) from error

    def release(self) -> None:
        """Release the lock."""
        for descriptor in self._held:
            os.close(descriptor)
        self._held.clear()

    def _hold(self, path: Path, flags: int) -> None:
        descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o600)
        self._held.append(descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
