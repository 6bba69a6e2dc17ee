"""What the API server has of one kind of object, listed once and watched from then on. Runs in a thread of its own.

    reflector = Reflector(RESOURCES["Service"], connection, sink)
    threading.Thread(target=reflector.run, daemon=True).start()
    …
    reflector.stop()

List: as a stream where the server has it (KEP-3157), else in pages. Watch: on from the last resource version that was
heard of, in an event or a bookmark; after 410 Gone all is listed anew. A failure is told once and tried again, later
each time (with jitter); what was known stays known meanwhile.
"""

from __future__ import annotations

import logging
import random
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec
import urllib3
from urllib3.exceptions import HTTPError

from socklb.api.connection import (
    ApiError,
    Connection,
    ExpiredError,
    NotServedError,
    StalledError,
    refused,
    unreachable,
)

PAGE = 500
WATCH_SECONDS = 300  # up to twice that: agents that started together do not come back together
SILENCE = 90.0  # seconds; an idle watch brings a bookmark each minute
LIST_SILENCE = 30.0
STREAM_SILENCE = 5.0  # within a list as a stream: one that stalls is asked for in pages
RETRY_FIRST, RETRY_MOST = 0.2, 30.0
NOT_SERVED_RETRY = 300.0
INITIAL_END = "k8s.io/initial-events-end"
# Services that another proxy serves, and headless ones, need not be sent; a label set or removed later is an event.
PROXIED = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name"

Found = TypeVar("Found")

log = logging.getLogger(__name__)


class Resource(NamedTuple):
    """Where objects of a kind are; `optional`: an older server may not have it."""

    kind: str
    path: str
    selector: str = ""
    optional: bool = False


RESOURCES = (
    Resource("Service", "/api/v1/services", PROXIED),
    Resource("EndpointSlice", "/apis/discovery.k8s.io/v1/endpointslices", PROXIED),
    Resource("Node", "/api/v1/nodes"),
    Resource("ServiceCIDR", "/apis/networking.k8s.io/v1/servicecidrs", optional=True),
)


class Sink(Protocol[Found]):
    """Whom a reflector tells; called in its thread."""

    def read(self, resource: Resource, raw: bytes) -> Found:
        """Make of JSON, as the server sent it, what the other methods are told."""
        ...

    def replaced(self, resource: Resource, found: list[Found]) -> None:
        """All objects that there are."""
        ...

    def changed(self, found: Found, *, gone: bool) -> None:
        """One object as it is, or as it was before it went."""
        ...

    def reached(self, resource: Resource) -> None:
        """The server answers."""
        ...

    def failed(self, resource: Resource, error: ApiError, retry: float) -> None:
        """It does not, or not as it should; the next try is `retry` seconds from now."""
        ...


class Meta(msgspec.Struct):
    resourceVersion: str = ""  # noqa: N815
    continue_: str = msgspec.field(default="", name="continue")
    annotations: dict[str, str] | None = None


class Versioned(msgspec.Struct):
    metadata: Meta = msgspec.field(default_factory=Meta)


class Page(msgspec.Struct):
    metadata: Meta = msgspec.field(default_factory=Meta)
    items: list[msgspec.Raw] | None = None


class Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class Reflector(Generic[Found]):
    """See the module."""

    def __init__(self, resource: Resource, connection: Connection, sink: Sink[Found]) -> None:
        self.resource = resource
        self._connection = connection
        self._sink = sink
        self._version = ""  # where a watch goes on; empty: all is to be listed
        self._streams = True  # whether the server gives lists as streams, as far as is known
        self._stopped = threading.Event()
        self._response: urllib3.BaseHTTPResponse | None = None

    def run(self) -> None:
        """Follow the server until stopped."""
        failures = 0
        while not self._stopped.is_set():
            try:
                self._follow()
                failures = 0
            except ExpiredError as error:
                log.info("%s are listed anew: %s", self.resource.kind, error)
                self._version = ""
            except ApiError as error:
                if self._stopped.is_set():
                    return
                failures += 1
                self._wait(error, failures)

    def stop(self) -> None:
        """End `run`, also while it waits for the server."""
        self._stopped.set()
        hang_up(self._response)

    def _wait(self, error: ApiError, failures: int) -> None:
        most = min(RETRY_MOST, RETRY_FIRST * 2 ** min(failures, 10))
        seconds = max(error.retry_after, random.uniform(most / 2, most))
        if self.resource.optional and isinstance(error, NotServedError):
            seconds = NOT_SERVED_RETRY
            self._sink.replaced(self.resource, [])
        else:
            self._sink.failed(self.resource, error, seconds)
        self._stopped.wait(seconds)

    def _follow(self) -> None:
        """List if need be, and watch until the server ends it."""
        if not self._version and not self._streams:
            self._list_in_pages()
        if self._version:
            self._watch({"resourceVersion": self._version})
            return
        try:
            self._watch({"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"})
        except (NotServedError, StalledError) as error:
            absent = self.resource.optional and isinstance(error, NotServedError)
            if self._version or absent:
                raise
            log.info("%s: no streaming lists here (%s)", self.resource.kind, error)
            self._streams = False

    def _list_in_pages(self) -> None:
        listed: list[Found] = []
        query = {"limit": str(PAGE)}
        while True:
            page = self._page(query)
            listed += (self._sink.read(self.resource, bytes(raw)) for raw in page.items or ())
            if not page.metadata.continue_:
                break
            query["continue"] = page.metadata.continue_
        self._sink.replaced(self.resource, listed)
        self._version = page.metadata.resourceVersion
        self._sink.reached(self.resource)

    def _page(self, query: Mapping[str, str]) -> Page:
        with closing(self._ask(query, LIST_SILENCE)) as response:
            body = b"".join(self._chunks(response))
        try:
            return msgspec.json.decode(body, type=Page)
        except msgspec.MsgspecError as error:
            raise ApiError(f"no list of objects: {error}", value=self._connection.server) from error

    def _watch(self, query: Mapping[str, str]) -> None:
        listed: list[Found] | None = None if self._version else []
        seconds = str(random.randint(WATCH_SECONDS, 2 * WATCH_SECONDS))
        query = {**query, "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": seconds}
        with closing(self._ask(query, SILENCE if listed is None else STREAM_SILENCE)) as response:
            if listed is None:
                self._sink.reached(self.resource)
            for line in lines(self._chunks(response)):
                listing = listed is not None
                listed = self._take(line, listed)
                if listing and listed is None:
                    allow_silence(response, SILENCE)
        if listed is not None and not self._stopped.is_set():
            raise ApiError("the list ended before its end", value=self._connection.server)

    def _take(self, line: bytes, listed: list[Found] | None) -> list[Found] | None:
        """Act on an event; give what is listed so far, or None once that is done."""
        try:
            event = msgspec.json.decode(line, type=Event)
            raw = bytes(event.object)
            if event.type == "ERROR":
                raise self._error(raw)
            meta = msgspec.json.decode(raw, type=Versioned).metadata
        except msgspec.MsgspecError as error:
            raise ApiError(f"no event of a watch: {error}", value=line[:80].decode(errors="replace")) from error
        if listed is not None:
            listed = self._list(event.type, raw, meta, listed)
        elif event.type != "BOOKMARK":
            self._sink.changed(self._sink.read(self.resource, raw), gone=event.type == "DELETED")
        if listed is None:
            self._version = meta.resourceVersion
        return listed

    def _list(self, type_: str, raw: bytes, meta: Meta, listed: list[Found]) -> list[Found] | None:
        if type_ != "BOOKMARK":
            listed.append(self._sink.read(self.resource, raw))
            return listed
        if INITIAL_END not in (meta.annotations or {}):
            return listed
        self._sink.replaced(self.resource, listed)
        self._sink.reached(self.resource)
        return None

    def _error(self, raw: bytes) -> ApiError:
        code = msgspec.json.decode(raw, type=dict[str, Any]).get("code", 0)
        return refused(self._connection.server, self.resource.path, int(code), raw)

    def _ask(self, query: Mapping[str, str], silence: float) -> urllib3.BaseHTTPResponse:
        query = {**query, "labelSelector": self.resource.selector} if self.resource.selector else query
        self._response = self._connection.get(self.resource.path, query, silence)
        if self._stopped.is_set():
            hang_up(self._response)
        return self._response

    def _chunks(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        try:
            yield from response.stream(1 << 16)
        except (HTTPError, OSError, ValueError) as error:  # ValueError: read of closed file
            self._connection.failed()
            raise unreachable(self._connection.server, error) from error


def lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Give the lines of a stream; what is not ended by a line feed is not given."""
    rest = bytearray()
    for chunk in chunks:
        rest += chunk
        *whole, tail = rest.split(b"\n")
        yield from map(bytes, filter(None, whole))
        rest = tail


def socket_of(response: urllib3.BaseHTTPResponse | None) -> socket.socket | None:
    """Give what a response is read from, None once it is read to its end."""
    connection = getattr(response, "connection", None) or getattr(response, "_connection", None)
    sock = getattr(connection, "sock", None)
    return sock if isinstance(sock, socket.socket) else None


def allow_silence(response: urllib3.BaseHTTPResponse, seconds: float) -> None:
    """From now on let reading fail after that long without a word."""
    if (sock := socket_of(response)) is not None:
        sock.settimeout(seconds)


def hang_up(response: urllib3.BaseHTTPResponse | None) -> None:
    """End a response that another thread may be reading: a close alone would wait for that thread."""
    if (sock := socket_of(response)) is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return
