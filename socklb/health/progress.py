"""The agent's progress: whether it is in sync, since when a change has been waiting to be applied, how long changes
take.

    progress.begin()
    …                                    # the change is written to the kernel
    began = progress.taken()             # the sockets have it
    progress.applied(batch, began)       # the packet path has it too

Threads may read it while the agent works: each question reads single attributes.
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
        self.objects: dict[str, int | None] = {}  # generations of applied objects, by kind and name
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
        """Note that a batch is to be applied. If it fails, it counts as waiting until a later one is applied."""
        self._began = time.monotonic()
        if self._waiting_since is None:
            self._waiting_since = self._began

    def taken(self) -> float:
        """Note that the sockets have it; return when it began. If only the packet path lacks it, nothing is applied
        again.
        """
        self._waiting_since = None
        return self._began

    def applied(self, batch: Batch, began: float | None = None) -> None:
        """Note that everything up to this batch, which began at that moment, is in the kernel."""
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
        """Return whether a change has waited longer than LATE to be applied."""
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
    """Yield the times of the changes behind EndpointSlices; unreadable ones are left out."""
    for change in changes:
        if isinstance(change.object, EndpointSlice):
            try:
                moment = datetime.fromisoformat(change.object.metadata.annotations.get(TRIGGERED, ""))
            except ValueError:
                continue
            if moment.tzinfo is not None:
                yield moment.timestamp()
