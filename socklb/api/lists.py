"""All objects of a resource at one moment: as a stream if the server supports that (KEP-3157), otherwise in pages.

    with lister.listed() as listed:
        …listed.found, listed.version, and events from then on: listed.events

Both are answered from the API server's watch cache: a thousand agents that list at once do not reach etcd. Pages are
requested as in client-go's reflector, only where streams are refused, and streams are tried again later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Generic, NamedTuple

import msgspec

from socklb.api.asking import Asker, allow_silence, lines
from socklb.api.connection import Answer
from socklb.api.failures import ApiError, ExpiredError, NotServedError, error_event
from socklb.api.resources import Found, Resource, Sink

PAGE = 500
STREAMS_AGAIN = 600.0  # seconds until streams are tried again after they were refused
INITIAL_END = "k8s.io/initial-events-end"
FROM_CACHE = "0"  # any version in the server's cache; without a version the server asks etcd's quorum

log = logging.getLogger(__name__)


class Meta(msgspec.Struct):
    resourceVersion: str = ""  # noqa: N815
    continue_: str = msgspec.field(default="", name="continue")
    annotations: dict[str, str] | None = None


class Versioned(msgspec.Struct):
    metadata: Meta = msgspec.field(default_factory=Meta)


class Page(msgspec.Struct):
    metadata: Meta = msgspec.field(default_factory=Meta)
    items: list[msgspec.Raw] | None = None


class Event(NamedTuple):
    """A line of a watch: its type, the object as JSON, and the object's metadata."""

    type: str
    raw: bytes
    meta: Meta


class _Line(msgspec.Struct):
    type: str
    object: msgspec.Raw


# As in reading.py: no thread may be the first to use a type.
PAGES = msgspec.json.Decoder(Page)
LINES = msgspec.json.Decoder(_Line)
VERSIONS = msgspec.json.Decoder(Versioned)


class Listed(NamedTuple, Generic[Found]):
    """The present objects; with a stream, also the events from then on."""

    found: list[Found]
    version: str
    events: Iterator[Event] | None = None


class Lister(Generic[Found]):
    """See the module. `silence`: after this many seconds without data, a server counts as dead."""

    def __init__(self, resource: Resource, asker: Asker, sink: Sink[Found], *, silence: float, stall: float) -> None:
        self._resource, self._asker, self._sink = resource, asker, sink
        self._silence, self._stall = silence, stall
        self._pages_until = 0.0  # monotonic: until then streams are not tried again

    @contextmanager
    def listed(self, known: str, watch: Mapping[str, str]) -> Generator[Listed[Found]]:
        """List; `known` is a version that was seen already, `watch` the query of the watch that the stream continues
        as.

        Raises:
            ApiError: there is no list.
        """
        with ExitStack() as opened:
            yield self._open(opened, known, watch)

    def _open(self, opened: ExitStack, known: str, watch: Mapping[str, str]) -> Listed[Found]:
        if time.monotonic() >= self._pages_until:
            try:
                return opened.enter_context(self._streamed(watch))
            except NotServedError as error:
                if error.status == 404:  # no such resource
                    raise
                log.info("%s: no streaming lists here (%s)", self._resource.name, error)
                self._pages_until = time.monotonic() + STREAMS_AGAIN
        return self.in_pages(known)

    @contextmanager
    def _streamed(self, watch: Mapping[str, str]) -> Generator[Listed[Found]]:
        query = {**watch, "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        with self._asker.ask(self._resource.path, query, self._silence) as answer:
            coming = events(self._asker, answer, self._resource.path)
            found: list[Found] = []
            for event in coming:
                if event.type != "BOOKMARK":
                    found.append(self._sink.read(self._resource, event.raw))
                elif INITIAL_END in (event.meta.annotations or {}):
                    allow_silence(answer, self._silence)
                    yield Listed(found, event.meta.resourceVersion, coming)
                    return
                allow_silence(answer, self._stall)
        raise ApiError("the list ended before its end", value=answer.server)

    def in_pages(self, known: str) -> Listed[Found]:
        """List from the cache: in pages of PAGE, or whole and at least as new as `known` if there was a list before.

        If a server gives pages and then refuses the continue token (410), the whole list is requested at once.
        """
        whole = {**self._resource.query, "resourceVersion": known or FROM_CACHE}
        query = whole if known else {**whole, "limit": str(PAGE)}
        found: list[Found] = []
        while True:
            try:
                page = self._page(query)
            except ExpiredError:
                if "continue" not in query:
                    raise
                query, found = whole, []
                continue
            found += (self._sink.read(self._resource, bytes(raw)) for raw in page.items or ())
            if not page.metadata.continue_:
                return Listed(found, page.metadata.resourceVersion)
            # The continue token contains the version: the server refuses both together.
            query = {**self._resource.query, "limit": str(PAGE), "continue": page.metadata.continue_}

    def _page(self, query: Mapping[str, str]) -> Page:
        with self._asker.ask(self._resource.path, query, self._silence) as answer:
            body = self._asker.body(answer)
        try:
            return PAGES.decode(body)
        except msgspec.MsgspecError as error:
            raise ApiError(f"no list of objects: {error}", value=answer.server) from error


def events(asker: Asker, answer: Answer, path: str) -> Iterator[Event]:
    """Yield the events of a watch until the server ends it.

    Raises:
        ApiError: the server says that it cannot continue, or the connection breaks off.
    """
    for line in lines(asker.chunks(answer)):
        try:
            read = LINES.decode(line)
            raw = bytes(read.object)
            if read.type == "ERROR":
                raise error_event(answer.server, path, raw)
            yield Event(read.type, raw, VERSIONS.decode(raw).metadata)
        except msgspec.MsgspecError as error:
            raise ApiError(f"no event of a watch: {error}", value=line[:80].decode(errors="replace")) from error
