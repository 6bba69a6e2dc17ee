"""The agent's memory: how rarely Python collects garbage, and what is returned to the system.

    collect_less_often()
    give_back()             # after work that used much memory for a moment

Objects without references are freed at once, whatever is set here; this is only about cycles. The agent makes few: an
exception with its traceback, a finished task. Instead it permanently holds some ten objects for each endpoint, and with
Python's own thresholds scanning them again and again took 40 % of the first batch of a large cluster.
"""

from __future__ import annotations

import gc

from socklb.libc import libc

# New objects before the young generation is scanned (Python's own: 700), and how often that is done before older ones
# are scanned too (10, 10). Few cycles wait for it, so the agent's memory is the same as before.
THRESHOLDS = (100_000, 50, 1000)


def collect_less_often() -> None:
    """Set the thresholds of this process."""
    gc.set_threshold(*THRESHOLDS)


def give_back() -> None:
    """Return freed memory to the system; glibc keeps it otherwise, and other C libraries have no such call."""
    if trim := getattr(libc, "malloc_trim", None):
        trim(0)
