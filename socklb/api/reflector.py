"""The objects of one kind at the API server, listed once and watched from then on. Runs in a thread of its own.

    reflector = Reflector(RESOURCES[0], connection, sink)
    threading.Thread(target=reflector.run, daemon=True).start()
    …
    reflector.stop()

A watch continues from the last resource version seen in an event or a bookmark; after 410 Gone everything is listed
again. A watch that ends as soon as it starts is a failure like any other, and the pause after it grows: a server that
ends every watch, or answers every one with 410, is not polled in a tight loop.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from socklb.api.connection import Connection
from socklb.api.failures import BriefError
from socklb.api.follower import PROVEN, RETRY_MOST, Follower
from socklb.api.lists import Event, Lister, events
from socklb.api.resources import RESOURCES, Found, Resource, Sink

WATCH_SECONDS = 300  # up to twice that: agents that started together do not reconnect together
# An idle watch gets a bookmark each minute, and a request may be queued as long at a busy server.
SILENCE = 90.0
STREAM_SILENCE = 30.0  # within a streaming list, once it has started: one that stalls is requested again

__all__ = ["RESOURCES", "RETRY_MOST", "Reflector"]


class Reflector(Follower[Found]):
    """See the module."""

    def __init__(self, resource: Resource, connection: Connection, sink: Sink[Found]) -> None:
        super().__init__(resource, connection, sink)
        self._lister = Lister(resource, self._asker, sink, silence=SILENCE, stall=STREAM_SILENCE)
        self._version = ""  # where a watch continues; empty: everything is to be listed
        self._seen = ""  # where the last watch was when it could not continue

    def _follow(self) -> None:
        """List if necessary, and watch until the server ends it."""
        if self._version:
            query = {**self._watching(), "resourceVersion": self._version}
            with self._asker.ask(self.resource.path, query, SILENCE) as answer:
                self._watch(events(self._asker, answer, self.resource.path))
            return
        with self._lister.listed(self._seen, self._watching()) as listed:
            self._sink.replaced(self.resource, listed.found)
            self._listed = True
            self._version = listed.version
            listed.found.clear()  # frees memory: the watch may last ten minutes
            if listed.events is not None:
                self._watch(listed.events)

    def _start_anew(self) -> None:
        # A list should not be older than what was seen; if the server has none such, any will do.
        self._seen, self._version = self._version, ""

    def _watching(self) -> dict[str, str]:
        seconds = str(random.randint(WATCH_SECONDS, 2 * WATCH_SECONDS))
        return {**self.resource.query, "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": seconds}

    def _watch(self, coming: Iterator[Event]) -> None:
        began = time.monotonic()
        with self._proving():
            for event in coming:
                self._take(event)
        lived = time.monotonic() - began
        if self._asker.stopped.is_set():
            return
        if lived < PROVEN:
            raise BriefError(f"the server ended a watch after {lived:.1f} s", value=self._asker.connection.server)
        self._asker.connection.ended()

    def _take(self, event: Event) -> None:
        if event.type != "BOOKMARK":
            self._sink.changed(self._sink.read(self.resource, event.raw), gone=event.type == "DELETED")
        self._version = event.meta.resourceVersion or self._version
