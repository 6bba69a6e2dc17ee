"""The Kubernetes API as the source of objects: Services, EndpointSlices, Nodes and ServiceCIDRs.

    source = KubernetesApi(Connection("/etc/socklb/kubeconfig"), node="node-1")
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
from collections.abc import AsyncGenerator, Iterable
from typing import NamedTuple

import msgspec

from socklb.api.checks import ObjectError, check
from socklb.api.connection import Connection
from socklb.api.decode import KINDS, identify, read_object
from socklb.api.documents import load_json
from socklb.api.failures import ApiError, UnexpectedError, unexpected
from socklb.api.findings import ObjectId
from socklb.api.follower import Follower
from socklb.api.objects import EndpointSlice, Object
from socklb.api.other_nodes import OtherNodes
from socklb.api.reflector import Reflector
from socklb.api.resources import NODES, RESOURCES, Resource, own_node
from socklb.api.source import Batch, Change, Problem, Reach
from socklb.api.troubles import Troubles
from socklb.errors import SocklbError

MODELS = {kind: ((version, kind), model) for (version, kind), model in KINDS.items()}

PLACE = "Kubernetes API"
ENDED = "its thread has ended: changes are not seen any more"
WITHOUT = "the node is served without, or with what was known"

log = logging.getLogger(__name__)


class Read(NamedTuple):
    """An object that the server sent, or why there is none; `id` is None where not even that can be read."""

    id: ObjectId | None
    object: Object | SocklbError


class KubernetesApi:
    """See the module. One consumer of `batches` at a time."""

    def __init__(self, connection: Connection, node: str = "") -> None:
        """`node`: the name of our own Node, which is watched; the others are looked at now and then."""
        self._connection, self._node = connection, node
        self._others = OtherNodes(connection, self, but=node)
        watched = [one for one in RESOURCES if one != NODES] + ([own_node(node)] if node else [])
        self._followers: list[Follower[Read]] = [self._others, *(Reflector(one, connection, self) for one in watched)]
        self._threads: tuple[threading.Thread, ...] = ()
        self._lock = threading.Lock()  # the followers' threads write all that follows
        self._known: dict[str, dict[str, Object]] = {resource.kind: {} for resource in RESOURCES}
        self._waiting: dict[ObjectId, Object | None] = {}  # what changed, as the last batch said it
        self._unlisted = {one.resource.name for one in self._followers}
        self._objects: Troubles[ObjectId] = Troubles()
        self._kinds: Troubles[str] = Troubles()  # what cannot be followed
        self._outages: dict[str, tuple[float, str]] = {}  # since when, and why, of what the node cannot do without
        self._said: frozenset[str] = frozenset()  # reasons that were logged since the server was in reach
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is left out at present, and what cannot be followed."""
        dead = tuple(Problem(PLACE, 0, "", f"{ENDED}; next: restart the agent", name) for name in self.dead)
        with self._lock:
            objects = sorted(self._objects.problems, key=lambda problem: problem.object)
            return (*dead, *self._kinds.problems, *objects)

    @property
    def reach(self) -> Reach:
        """Which server is asked, and since when it cannot be."""
        with self._lock:
            since, reason = min(self._outages.values(), default=(None, ""))
        return Reach(f"{PLACE} {self._connection.server}", since, reason)

    @property
    def dead(self) -> tuple[str, ...]:
        """What is not followed any more, because its thread has ended."""
        return tuple(thread.name for thread in self._threads if not thread.is_alive())

    async def batches(self) -> AsyncGenerator[Batch]:
        """Give the first batch when everything was listed."""
        self._loop = asyncio.get_running_loop()
        threads = [
            threading.Thread(target=self._run, args=[one], name=one.resource.name, daemon=True)
            for one in self._followers
        ]
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
            for follower in self._followers:
                follower.stop()

    def _run(self, follower: Follower[Read]) -> None:
        try:
            follower.run()
        except BaseException:
            log.critical("%s: %s", follower.resource.name, ENDED)
            raise

    def _take(self) -> tuple[Change, ...] | None:
        """Give what changed, or None while not everything was listed."""
        with self._lock:
            if self._unlisted:
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
        except Exception as error:  # noqa: BLE001  (one object that nobody foresaw keeps no other from being served)
            return Read(_identity(raw, resource), unexpected(error))
        return Read((found.kind, found.key), found)

    def replaced(self, resource: Resource, found: list[Read]) -> None:
        """Take over a whole list."""
        with self._lock:
            present = {one.id for one in found if one.id}
            for kind, key in [(resource.kind, key) for key in self._known[resource.kind]]:
                if self._belongs(resource, key) and (kind, key) not in present:
                    self._put((kind, key), None)
            self._objects.settle_where(
                lambda id_: id_[0] == resource.kind and self._belongs(resource, id_[1]) and id_ not in present
            )
            for one in found:
                if one.id is None or self._belongs(resource, one.id[1]):
                    self._note(one)
            self._unlisted.discard(resource.name)
        self._tell()

    def changed(self, found: Read, *, gone: bool) -> None:
        """Take over an event."""
        with self._lock:
            if not gone:
                self._note(found)
            elif found.id:
                self._forget(found.id)
            news = bool(self._waiting)
        if news:
            self._tell()

    def lost(self, resource: Resource, names: Iterable[str]) -> None:
        """Take over that objects are gone."""
        with self._lock:
            for name in names:
                self._forget((resource.kind, name))
        self._tell()

    def reached(self, resource: Resource) -> None:
        """Forget an outage."""
        with self._lock:
            was, outage = self._kinds.settle(resource.name), self._outages.pop(resource.name, None)
            over = outage is not None and not self._outages
            if over:
                self._said = frozenset()
        if outage and over:
            seconds = time.time() - outage[0]
            log.info("the Kubernetes API is in reach again, after %.0f s: %s", seconds, self.reach.where)
        elif was and not outage:
            log.info("%s: followed again", resource.name)
        for other in self._followers:
            other.hasten()

    def failed(self, resource: Resource, error: ApiError, retry: float, *, without: bool) -> None:
        """Note an outage; say it once, and again when it is for another reason."""
        absent = without and error.status == 404  # an older server
        cause = error.__cause__ if isinstance(error, UnexpectedError) else None
        with self._lock:
            text = f"{WITHOUT if without else 'cannot be followed'}: {error}"
            news = not absent and self._kinds.note(resource.name, Problem(PLACE, 0, "", text, resource.name))
            if without:
                self._unlisted.discard(resource.name)
                self._outages.pop(resource.name, None)
            else:
                since, _ = self._outages.get(resource.name, (time.time(), ""))
                self._outages[resource.name] = since, str(error)
                news, self._said = str(error) not in self._said, self._said | {str(error)}
        if without:
            self._tell()
        if news and without:
            log.warning("%s: %s (next try in %.0f s)", resource.name, text, retry)
        elif news:
            state = "does not do what it should" if error.status or cause else "is out of reach"
            said = "the Kubernetes API %s: %s (watching %s; next try in %.1f s); what is known is served"
            log.warning(said, state, error, resource.name, retry, exc_info=cause)

    def _belongs(self, resource: Resource, key: str) -> bool:
        """Whether an object is one of a resource's: our own Node has a follower of its own."""
        return resource.kind != NODES.kind or (key == self._node) == bool(resource.fields)

    def _note(self, found: Read) -> None:
        if isinstance(found.object, SocklbError):
            self._left_out(found.id, found.object)
        elif found.id:
            if self._objects.settle(found.id):
                log.info("no longer a problem: %s", "/".join(found.id))
            self._put(found.id, found.object)

    def _left_out(self, id_: ObjectId | None, error: SocklbError) -> None:
        field = error.field if isinstance(error, ObjectError) else ""
        problem = Problem(PLACE, 0, field, str(error), "/".join(id_) if id_ else "")
        if self._objects.note(id_ or ("", ""), problem):
            log.warning("left out: %s", problem)

    def _forget(self, id_: ObjectId) -> None:
        self._objects.settle(id_)
        self._put(id_, None)

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
        if isinstance(found, EndpointSlice):
            self._others.wanted({endpoint.nodeName for endpoint in found.endpoints})

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
    except Exception as error:  # noqa: BLE001  (as above)
        return Read(identify(document), unexpected(error))
    if found is None:
        raise TypeError(type_)
    return Read((found.kind, found.key), found)


def _identity(raw: bytes, resource: Resource) -> ObjectId | None:
    document = {**load_json(raw), "apiVersion": MODELS[resource.kind][0][0], "kind": resource.kind}
    return identify(document)
