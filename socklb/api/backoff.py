"""How long to wait after a failure: longer each time, with jitter; short again after all was well for a while.

    seconds = backoff.failed(at_least=error.retry_after)
    …
    backoff.well()

The figures are client-go's reflector's (0.8 s to 30 s, reset after 2 minutes), so a server that recovers meets our
agents as it meets kubelets.
"""

from __future__ import annotations

import random
import time


class Backoff:
    """See the module. Seconds everywhere."""

    def __init__(self, first: float, most: float, reset: float) -> None:
        """Begin with `first` to twice that; after `reset` seconds that were well, begin again."""
        self.failures = 0
        self._first, self._most, self._reset = first, most, reset
        self._well_since: float | None = None

    def well(self) -> None:
        """The server does what it should, at least since now."""
        if self._well_since is None:
            self._well_since = time.monotonic()

    def failed(self, at_least: float = 0.0) -> float:
        """Return the seconds to wait."""
        if self._well_since is not None and time.monotonic() - self._well_since >= self._reset:
            self.failures = 0
        self._well_since = None
        self.failures += 1
        most = min(self._most, 2 * self._first * 2 ** min(self.failures - 1, 16))
        return max(at_least, random.uniform(most / 2, most))
