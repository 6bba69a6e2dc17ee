"""How long to wait after a failure: longer each time, with jitter; short again after a healthy period.

    seconds = backoff.failed(at_least=error.retry_after)
    …
    backoff.well()

The values are those of client-go's reflector (0.8 s to 30 s, reset after 2 minutes), so a server that recovers gets the
same load from agents as from kubelets.
"""

from __future__ import annotations

import random
import time


class Backoff:
    """See the module. Seconds everywhere."""

    def __init__(self, first: float, most: float, reset: float) -> None:
        """Start with `first` to twice that; after `reset` healthy seconds, start again."""
        self.failures = 0
        self._first, self._most, self._reset = first, most, reset
        self._well_since: float | None = None

    def well(self) -> None:
        """Note that the server is healthy, at least from now on."""
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
