"""How far the agent is: in sync or not, since when a change waits to be applied, how long changes take.

    progress.begin()
    …                                    # the change goes to the kernel
    progress.applied(batch)

Threads may ask while the agent works: each question reads single attributes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime

from prometheus_client import Histogram

from socklb.api.marks import TRIGGERED
from socklb.api.objects import EndpointSlice
from socklb.api.source import Batch, Change

LATE = 60.0  # seconds; as kube-proxy's
SYNC_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
PROGRAMMING_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300)


class Progress:
    """See the module. The agent writes it, from one thread."""

    def __init__(self) -> None:
        self.started = time.time()
        self.synced = False
        self.revision = 0  # batches applied
        self.objects: dict[str, int | None] = {}  # generations of what was applied, by kind and name
        self.last_applied: float | None = None
        self._waiting_since: float | None = None
        self._began = 0.0
        self.sync_duration = Histogram(
            "socklb_sync_duration_seconds",
            "How long the agent took to bring a batch of changes to the kernel.",
            buckets=SYNC_BUCKETS,
            registry=None,
        )
        self.programming_duration = Histogram(
            "socklb_network_programming_duration_seconds",
            "From the change of a Service's pods, as its EndpointSlice says, until it was applied on this node.",
            buckets=PROGRAMMING_BUCKETS,
            registry=None,
        )

    def begin(self) -> None:
        """A batch is to be applied. One that fails is not applied until a later one is."""
        self._began = time.monotonic()
        if self._waiting_since is None:
            self._waiting_since = self._began

    def taken(self) -> float:
        """The sockets have it; give when it began. What the packet path alone lacks is no reason to start anew."""
        self._waiting_since = None
        return self._began

    def applied(self, batch: Batch, began: float | None = None) -> None:
        """Everything up to this batch, which was begun at that moment, is in the kernel."""
        now = time.time()
        self._waiting_since = None
        self.last_applied = now
        self.synced = self.synced or batch.complete
        self.revision += 1
        self._note(batch.changes)
        self.sync_duration.observe(time.monotonic() - (began or self._began))
        for moment in _triggers(batch.changes):
            if moment >= self.started:  # older ones were applied by an earlier agent
                self.programming_duration.observe(max(0.0, now - moment))

    @property
    def late(self) -> bool:
        """Whether a change waits for longer than LATE to be applied."""
        since = self._waiting_since
        return since is not None and time.monotonic() - since >= LATE

    def _note(self, changes: Iterable[Change]) -> None:
        for change in changes:
            name = f"{change.kind}/{change.key}"
            if change.object is None:
                self.objects.pop(name, None)
            else:
                self.objects[name] = change.object.metadata.generation


def _triggers(changes: Iterable[Change]) -> Iterable[float]:
    """Yield the moments of the changes that EndpointSlices tell of; what cannot be read is left out."""
    for change in changes:
        if isinstance(change.object, EndpointSlice):
            try:
                moment = datetime.fromisoformat(change.object.metadata.annotations.get(TRIGGERED, ""))
            except ValueError:
                continue
            if moment.tzinfo is not None:
                yield moment.timestamp()
