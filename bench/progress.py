"""Progress on stderr: a full run takes minutes."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def progress(what: str) -> Generator[list[float]]:
    """Print what is being done and how long it took; the list that is yielded has the seconds afterwards."""
    print(f"{what} ...", end=" ", file=sys.stderr, flush=True)
    spent: list[float] = []
    begun = time.monotonic()
    yield spent
    spent.append(time.monotonic() - begun)
    print(f"{spent[0]:.1f} s", file=sys.stderr, flush=True)
