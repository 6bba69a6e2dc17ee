"""The Kubernetes API as the source of objects: Services, EndpointSlices, Nodes and ServiceCIDRs.

    source = KubernetesApi(Connection("/etc/socklb/kubeconfig"))
    async with aclosing(source.batches()) as batches:
        async for batch in batches: …

The first batch comes when every kind was listed once. From then on a batch holds all that changed since the last one,
so a burst of events is few batches. An object that is sent again and says nothing new is no change: a Node is sent each
time that its kubelet reports, and after an outage everything is listed anew. While the server is out of reach nothing
changes; an object that cannot be understood stays as it was.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator
from typing import NamedTuple

import msgspec

from socklb.api.checks import ObjectError, check
from socklb.api.connection import ApiError, Connection
from socklb.api.decode import KINDS, identify, read_object
from socklb.api.documents import load_json
from socklb.api.findings import ObjectId
from socklb.api.objects import Object
from socklb.api.reflector import RESOURCES, Reflector, Resource
from socklb.api.source import Batch, Change, Problem, Reach
from socklb.errors import SocklbError

MODELS = {kind: ((version, kind), model) for (version, kind), model in KINDS.items()}

log = logging.getLogger(__name__)


class Read(NamedTuple):
    """An object that the server sent, or why there is none; `id` is None where not even that can be read."""

    id: ObjectId | None
    object: Object | SocklbError


class KubernetesApi:
    """See the module. One consumer of `batches` at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._reflectors = [Reflector(resource, connection, self) for resource in RESOURCES]
        self._threads: tuple[threading.Thread, ...] = ()
        self._lock = threading.Lock()  # the reflectors' threads write all that follows
        self._known: dict[str, dict[str, Object]] = {resource.kind: {} for resource in RESOURCES}
        self._waiting: dict[ObjectId, Object | None] = {}  # what changed, as the last batch said it
        self._listed: set[str] = set()
        self._problems: dict[ObjectId, Problem] = {}
        self._outages: dict[str, tuple[float, str]] = {}  # since when, and why, by kind
        self._said: frozenset[str] = frozenset()  # reasons that were logged since the server was in reach
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is left out at present."""
        with self._lock:
            return tuple(self._problems[id_] for id_ in sorted(self._problems))

    @property
    def reach(self) -> Reach:
        """Which server is asked, and since when it cannot be."""
        with self._lock:
            since, reason = min(self._outages.values(), default=(None, ""))
        return Reach(f"Kubernetes API {self._connection.server}", since, reason)

    @property
    def dead(self) -> tuple[str, ...]:
        """Kinds whose thread has ended."""
        return tuple(thread.name for thread in self._threads if not thread.is_alive())

    async def batches(self) -> AsyncGenerator[Batch]:
        """Give the first batch when everything was listed."""
        self._loop = asyncio.get_running_loop()
        threads = [threading.Thread(target=one.run, name=one.resource.kind, daemon=True) for one in self._reflectors]
        for thread in threads:
            thread.start()
        self._threads = tuple(threads)
        first = True
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                changes = self._take()
                if changes is not None and (changes or first):
                    first = False
                    yield Batch(changes, complete=True)
        finally:
            self._threads = ()
            for reflector in self._reflectors:
                reflector.stop()

    def _take(self) -> tuple[Change, ...] | None:
        """Give what changed, or None while not everything was listed."""
        with self._lock:
            if len(self._listed) < len(RESOURCES):
                return None
            before, self._waiting = self._waiting, {}
            now = {(kind, key): self._known[kind].get(key) for kind, key in sorted(before)}
        return tuple(Change(*id_, found) for id_, found in now.items() if found != before[id_])

    def read(self, resource: Resource, raw: bytes) -> Read:
        """Decode an object; what msgspec refuses is read again the slow way, which allows null and names the field."""
        type_, model = MODELS[resource.kind]
        try:
            found: Object = msgspec.json.decode(raw, type=model)
            check(found)
        except (msgspec.MsgspecError, ObjectError):
            return _read_slowly(type_, raw)
        return Read((found.kind, found.key), found)

    def replaced(self, resource: Resource, found: list[Read]) -> None:
        """Take over a whole list."""
        kind = resource.kind
        with self._lock:
            present = {id_ for id_, _ in found if id_}
            for key in [key for key in self._known[kind] if (kind, key) not in present]:
                self._put((kind, key), None)
            for id_ in [id_ for id_ in self._problems if id_[0] == kind and id_ not in present]:
                del self._problems[id_]
            for one in found:
                self._note(one)
            self._listed.add(kind)
        self._tell()

    def changed(self, found: Read, *, gone: bool) -> None:
        """Take over an event."""
        with self._lock:
            if not gone:
                self._note(found)
            elif found.id:
                self._problems.pop(found.id, None)
                self._put(found.id, None)
            news = bool(self._waiting)
        if news:
            self._tell()

    def reached(self, resource: Resource) -> None:
        """Forget an outage."""
        with self._lock:
            outage = self._outages.pop(resource.kind, None)
            over = outage is not None and not self._outages
            if over:
                self._said = frozenset()
        if outage and over:
            log.info(
                "the Kubernetes API is in reach again, after %.0f s: %s", time.time() - outage[0], self.reach.where
            )

    def failed(self, resource: Resource, error: ApiError, retry: float) -> None:
        """Note an outage; say it once, and again when it is for another reason."""
        with self._lock:
            known, self._said = self._said, self._said | {str(error)}
            since, _ = self._outages.get(resource.kind, (time.time(), ""))
            self._outages[resource.kind] = since, str(error)
        if str(error) not in known:
            text = "the Kubernetes API is out of reach: %s (watching %s; next try in %.1f s); what is known is served"
            log.warning(text, error, resource.kind, retry)

    def _note(self, found: Read) -> None:
        if isinstance(found.object, SocklbError):
            self._left_out(found.id, found.object)
        elif found.id:
            if self._problems.pop(found.id, None):
                log.info("no longer a problem: %s", "/".join(found.id))
            self._put(found.id, found.object)

    def _left_out(self, id_: ObjectId | None, error: SocklbError) -> None:
        name = "/".join(id_) if id_ else ""
        field = error.field if isinstance(error, ObjectError) else ""
        problem = Problem("Kubernetes API", 0, field, str(error), name)
        if id_ and self._problems.get(id_) != problem:
            self._problems[id_] = problem
        log.warning("left out: %s", problem)

    def _put(self, id_: ObjectId, found: Object | None) -> None:
        kind, key = id_
        before = self._known[kind].get(key)
        if before == found:
            return
        self._waiting.setdefault(id_, before)
        if found is None:
            del self._known[kind][key]
        else:
            self._known[kind][key] = found

    def _tell(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.set)


def _read_slowly(type_: tuple[str, str], raw: bytes) -> Read:
    document: object = None
    try:
        document = {**load_json(raw), "apiVersion": type_[0], "kind": type_[1]}
        found = read_object(document)
    except SocklbError as error:
        return Read(identify(document), error)
    if found is None:
        raise TypeError(type_)
    return Read((found.kind, found.key), found)
