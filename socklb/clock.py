"""Moments that a person reads, of intervals that the program judges.

The time of day is set: by NTP, by a person, by a machine that wakes up. Whatever is judged by how long it has lasted is
therefore kept as a moment of `time.monotonic()`, and told as a time of day only at the end.
"""

from __future__ import annotations

import time


def time_of_day(moment: float) -> float:
    """Return a moment of time.monotonic() as seconds since 1970, by the time of day as it is set now."""
    return time.time() - (time.monotonic() - moment)
