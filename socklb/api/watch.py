"""When to read a folder again.

    async for _ in watch(folder): …     # at once, and whenever something in it may have changed

inotify (through watchfiles) reports changes. A burst of changes counts as one, which is reported after QUIET_MS without
another, so that a file being written is rarely read half-written. inotify does not see changes behind symbolic links
that lead out of the folder; a scan every RESCAN_MS covers that, and a folder that is absent, replaced or cannot be
watched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType]: trio, which it also knows, is absent

QUIET_MS = 10  # also how often watchfiles wakes up; measured: 0.7 % of a core idle, 16 ms from write to event
BURST_MS = 100  # the report comes no later, however long a burst lasts
RESCAN_MS = 5000
ABSENT_SECONDS = 0.5

log = logging.getLogger(__name__)


async def watch(folder: Path) -> AsyncGenerator[None]:
    """Yield at once, then whenever something in the folder may have changed. Does not end."""
    told = ""
    while True:
        try:
            async with aclosing(_watch_until_replaced(folder)) as looks:
                async for _ in looks:
                    told = ""
                    yield
        except FileNotFoundError:
            yield
        except Exception as error:  # noqa: BLE001  (OSError and RuntimeError of watchfiles, and whatever it may raise)
            if str(error) != told:  # for example, fs.inotify.max_user_instances is used up
                log.warning("%s cannot be watched, looking every %s s: %s", folder, ABSENT_SECONDS, error)
            told = str(error)
            yield
        await asyncio.sleep(ABSENT_SECONDS)


async def _watch_until_replaced(folder: Path) -> AsyncGenerator[None]:
    identity = _identity(folder)
    events = awatch(
        folder,
        watch_filter=None,
        recursive=False,
        step=QUIET_MS,
        debounce=BURST_MS,
        rust_timeout=RESCAN_MS,
        yield_on_timeout=True,
    )
    # awatch starts to watch in its first step. Waiting for it misses no write that happens during the first read.
    first = asyncio.ensure_future(anext(events))
    try:
        await asyncio.sleep(0)
        if first.done():
            first.result()
        yield
        await first
        yield
        while _identity(folder) == identity:
            await anext(events)
            yield
    finally:
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await events.aclose()


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino
