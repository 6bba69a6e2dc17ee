"""What a source of Kubernetes objects offers the agent: a folder of manifests, or the Kubernetes API.

    async with aclosing(source.batches()) as batches:
        async for batch in batches:
            state.apply(batch.changes)

The first batch comes as soon as the source was read once, be it empty. After it, a batch comes when objects
changed or when `complete` did. A source never says that an object is gone because it cannot read it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import NamedTuple, Protocol

from socklb.api.objects import Object


class Change(NamedTuple):
    """One object as it is now; `object` is None when it was deleted. `key` is `namespace/name`, a Node's its name."""

    kind: str
    key: str
    object: Object | None


class Batch(NamedTuple):
    """Changes that belong together, and whether everything that the source has was read well since start.

    Only with `complete` may entries be pruned from the kernel that no object stands for: what cannot be read now
    may be what they were made from.
    """

    changes: tuple[Change, ...]
    complete: bool


class Problem(NamedTuple):
    """Something that is wrong, and why. `document` counts from 1 and is 0 where the whole file is meant.

    name: what it is by any figures, as alarms have it; empty: the message says it.
    """

    file: str
    document: int
    field: str
    message: str
    object: str = ""  # "Service/default/web", where it could be read
    # How often it was met, when first and when last (Unix time), where somebody counts.
    times: int = 1
    first: float | None = None
    last: float | None = None
    name: str = ""  # what it is by any figures in its message, as alarms have it; empty: the message says it

    def says_as(self, other: Problem) -> bool:
        """Whether both say the same, however often and whenever they were met."""
        return self[:5] == other[:5]

    def __str__(self) -> str:
        """Format as one log line: `web.yaml document 2: Service/default/web: spec.ports[0].port: …`."""
        place = f"{self.file} document {self.document}" if self.document else self.file
        return ": ".join(part for part in (place, self.object, self.field, self.message) if part)


class Reach(NamedTuple):
    """Where objects come from, and since when (Unix time) that is out of reach; None: it is not."""

    where: str
    lost_since: float | None = None
    reason: str = ""


class Source(Protocol):
    """Where the agent gets its objects from."""

    @property
    def reach(self) -> Reach:
        """Whether the source can be asked now."""
        ...

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is left out at present."""
        ...

    def batches(self) -> AsyncGenerator[Batch]:
        """Return the changes for as long as the agent runs. What ends otherwise raises, and may be asked for anew."""
        ...
