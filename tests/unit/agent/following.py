"""A real folder source with its real watcher, followed in the background."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from socklb.api.manifests import ManifestFolder
from socklb.api.objects import EndpointSlice, Service
from socklb.api.source import Batch

PATIENCE = 5  # seconds until a batch that does not come is a failure
QUIET = 0.2  # a change is told within 0.02 s: what has not come by now does not come


def story(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


class Follower:
    """What the source told and tells."""

    def __init__(self, source: ManifestFolder) -> None:
        self.source = source
        self.batches: asyncio.Queue[Batch] = asyncio.Queue()

    async def next(self) -> Batch:
        return await asyncio.wait_for(self.batches.get(), PATIENCE)

    async def changes(self) -> dict[str, Any]:
        """The next batch: `{"Service/default/web": ports or backends, or None}`."""
        return summary(await self.next())

    async def nothing_more(self) -> None:
        await asyncio.sleep(QUIET)
        assert self.batches.empty(), self.batches.get_nowait()

    async def until_problems(self, count: int = 1) -> list[str]:
        async with asyncio.timeout(PATIENCE):
            while len(self.source.problems) != count:  # noqa: ASYNC110  (problems are read, not told)
                await asyncio.sleep(0.005)
        return [str(problem) for problem in self.source.problems]


def summary(batch: Batch) -> dict[str, Any]:
    return {f"{change.kind}/{change.key}": content(change.object) for change in batch.changes}


def content(found: Any) -> Any:
    match found:
        case Service():
            return [port.port for port in found.spec.ports]
        case EndpointSlice():
            return [address for endpoint in found.endpoints for address in endpoint.addresses]
        case _:
            return found


@asynccontextmanager
async def following(folder: Path) -> AsyncIterator[Follower]:
    follower = Follower(ManifestFolder(folder))

    async def pump() -> None:
        async with aclosing(follower.source.batches()) as batches:
            async for batch in batches:
                follower.batches.put_nowait(batch)

    task = asyncio.create_task(pump())
    try:
        yield follower
    finally:
        if not task.done():
            task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError), ended
