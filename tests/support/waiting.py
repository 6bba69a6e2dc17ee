"""Waiting in tests: for what comes true by itself, with an end.

Pauses grow, for whoever looks all the time slows down what it waits for.
"""

import asyncio
import time
from collections.abc import Callable

GROWTH, LONGEST = 1.3, 0.2  # seconds, unless the first pause is longer


def until(condition: Callable[[], object], seconds: float = 30.0, pause: float = 0.01) -> None:
    """Look until it is true.

    Raises:
        AssertionError: it was not, in so many seconds.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not come true within {seconds:g} s"
        time.sleep(pause)
        pause = max(pause, min(pause * GROWTH, LONGEST))


async def until_async(condition: Callable[[], object], seconds: float = 30.0, pause: float = 0.005) -> None:
    """Look likewise, in an event loop that has its work done meanwhile.

    Raises:
        AssertionError: it was not, in so many seconds.
    """
    end = time.monotonic() + seconds
    while not condition():  # of many kinds, and most tell nobody
        assert time.monotonic() < end, f"it did not come true within {seconds:g} s"
        await asyncio.sleep(pause)
