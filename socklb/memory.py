"""What the agent does about its memory: how seldom Python looks for garbage, and what goes back to the system.

    collect_less_often()
    give_back()             # after work that took much for a moment

Objects without references are freed at once, whatever is set here; this is about cycles alone. The agent makes few: an
exception with its traceback, a finished task. It holds some ten objects for each endpoint instead, for good, and with
Python's own thresholds looking through them again and again took 40 % of the first batch of a large cluster.
"""

from __future__ import annotations

import ctypes
import gc

# New objects before the young are looked through (Python's own: 700), and how often that is done before older ones are
# looked through too (10, 10). Cycles that wait for it are few, so the agent's memory is the same as before.
THRESHOLDS = (100_000, 50, 1000)


def collect_less_often() -> None:
    """Set it for this process."""
    gc.set_threshold(*THRESHOLDS)


def give_back() -> None:
    """Give back to the system what was freed; glibc keeps it otherwise, and other C libraries have no such call."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
