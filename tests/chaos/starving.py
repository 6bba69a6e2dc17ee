"""How long processes waited for a core since a moment: on a busy machine that is most of what a start takes.

    starving = Starving(lambda: [agent, server])
    …
    starving.seconds

A limit of time is about what the agent does, so the time in which it was not let do anything does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path


class Starving:
    """See the module. pids: who is needed, at this moment; some may be new."""

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids
        self._waited = {pid: waited(pid) for pid in pids()}
        self._before = dict(self._waited)

    @property
    def seconds(self) -> float:
        """Seconds of the one that waited longest; who ended meanwhile has what was seen last."""
        for pid in self._pids():
            self._waited[pid] = max(self._waited.get(pid, 0.0), waited(pid))
        return max(now - self._before.get(pid, 0.0) for pid, now in self._waited.items())


def waited(pid: int) -> float:
    """Return the seconds that the hungriest thread of a process has waited (proc(5), schedstat); 0 if it is gone."""
    found = [0.0]
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            found.append(int(task.read_text().split()[1]) / 1e9)
        except (OSError, IndexError):
            continue
    return max(found)
