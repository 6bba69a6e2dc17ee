"""The interface of a source of Kubernetes objects: a folder of manifests, or the Kubernetes API.

    async with aclosing(source.batches()) as batches:
        async for batch in batches:
            state.apply(batch.changes)

The first batch comes as soon as the source has been read once, even if it is empty. After it, a batch comes when
objects or `complete` change. A source never reports an object as deleted because it cannot read it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import NamedTuple, Protocol

from socklb.api.objects import Object
from socklb.errors import one_line


class Change(NamedTuple):
    """The present state of one object; `object` is None if it was deleted. `key` is `namespace/name`, for a Node its
    name.
    """

    kind: str
    key: str
    object: Object | None


class Batch(NamedTuple):
    """Changes that belong together, and whether everything in the source has been read without errors since start.

    Only if `complete` may the agent prune entries without an object from the kernel: they may come from an object that
    cannot be read now.
    """

    changes: tuple[Change, ...]
    complete: bool


class Problem(NamedTuple):
    """Something that is wrong, and why. `document` counts from 1 and is 0 if the whole file is meant.

    name: what identifies it whatever its figures are, for alarms; empty: the message does.
    """

    file: str
    document: int
    field: str
    message: str
    object: str = ""  # "Service/default/web", if it could be read
    # How often it occurred, first and last time (Unix time), if its source counts.
    times: int = 1
    first: float | None = None
    last: float | None = None
    name: str = ""  # see above

    def says_as(self, other: Problem) -> bool:
        """Return whether both are the same problem, whatever their counts and times."""
        return self[:5] == other[:5]

    def __str__(self) -> str:
        """Format as one log line: `web.yaml document 2: Service/default/web: spec.ports[0].port: …`."""
        place = f"{self.file} document {self.document}" if self.document else self.file
        return ": ".join(one_line(part) for part in (place, self.object, self.field, self.message) if part)


class Reach(NamedTuple):
    """Where objects come from, and since when (Unix time) the source is unreachable; None: it is reachable."""

    where: str
    lost_since: float | None = None
    reason: str = ""


class Source(Protocol):
    """Where the agent gets its objects from."""

    @property
    def reach(self) -> Reach:
        """Return whether the source can be reached now."""
        ...

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Return what is left out at present."""
        ...

    def batches(self) -> AsyncGenerator[Batch]:
        """Yield the changes for as long as the agent runs. If it ends, it raises, and may be called again."""
        ...
