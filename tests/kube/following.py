"""A source of the real API, followed in the background; what it tells is put together as the agent's state would be."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any

from socklb.api.cluster import KubernetesApi
from socklb.api.objects import Object
from socklb.api.source import Batch

PATIENCE = 40  # seconds, far more than anything takes


def story(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


class Follower:
    """What the source told: all batches, and the objects that are there after them."""

    def __init__(self, source: KubernetesApi) -> None:
        self.source = source
        self.batches: list[Batch] = []
        self.objects: dict[tuple[str, str], Object] = {}

    def take(self, batch: Batch) -> None:
        self.batches.append(batch)
        for change in batch.changes:
            if change.object is None:
                del self.objects[change.kind, change.key]  # a source never takes away what it did not give
            else:
                self.objects[change.kind, change.key] = change.object

    def names(self, kind: str = "Service") -> set[str]:
        return {key.rpartition("/")[2] for found, key in self.objects if found == kind}

    async def until(self, true: Callable[[], object], seconds: float = PATIENCE) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, (self.source.reach, self.source.problems, sorted(self.objects))
            await asyncio.sleep(0.01)

    async def until_there(self, *names: str, kind: str = "Service") -> None:
        await self.until(lambda: set(names) <= self.names(kind))

    async def until_gone(self, *names: str, kind: str = "Service") -> None:
        await self.until(lambda: not set(names) & self.names(kind))


@asynccontextmanager
async def following(source: KubernetesApi, *, listed: bool = True) -> AsyncGenerator[Follower]:
    """Follow a source; with `listed` wait for its first batch."""
    follower = Follower(source)

    async def pump() -> None:
        async with aclosing(source.batches()) as batches:
            async for batch in batches:
                follower.take(batch)

    task = asyncio.create_task(pump())
    try:
        if listed:
            await follower.until(lambda: follower.batches)
        yield follower
    finally:
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError), ended
