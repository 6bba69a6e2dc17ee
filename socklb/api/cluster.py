"""The Kubernetes API as the source of objects: Services, EndpointSlices, Nodes and ServiceCIDRs.

    source = KubernetesApi(Connection("/etc/socklb/kubeconfig"), node="node-1")
    async with aclosing(source.batches()) as batches:
        async for batch in batches: …

The first batch comes when every kind has been listed once. After that a batch holds all that changed since the last
one, so a burst of events makes few batches. An object that is sent again without a change is ignored: a Node is sent
each time its kubelet reports, and after an outage everything is listed again. While the server is unreachable nothing
changes; if an object cannot be decoded, its last state is kept.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Iterable

from socklb.api.connection import Connection
from socklb.api.failures import ApiError, UnexpectedError
from socklb.api.follower import Follower
from socklb.api.known import PLACE, Known
from socklb.api.objects import EndpointSlice, Object
from socklb.api.other_nodes import OtherNodes
from socklb.api.reading import Read, read
from socklb.api.reflector import Reflector
from socklb.api.resources import NODES, RESOURCES, Resource, bypassing, own_node
from socklb.api.source import Batch, Change, Problem, Reach
from socklb.api.troubles import Troubles
from socklb.clock import time_of_day
from socklb.errors import SocklbError
from socklb.memory import give_back

ENDED = "its thread has ended: all is followed anew"
WITHOUT = "the node is served without, or with what was known"

log = logging.getLogger(__name__)


class KubernetesApi:
    """See the module. One consumer of `batches` at a time."""

    def __init__(self, connection: Connection, node: str = "", *, pods: bool = False) -> None:
        """Prepare to follow the API. `node`: the name of this node, whose Node is watched; other Nodes are looked up
        periodically.

        pods: whether to follow this node's Pods, and the Namespaces whose Pods are left out.
        """
        self._connection, self._node = connection, node
        self._watched = [one for one in RESOURCES if one != NODES] + ([own_node(node)] if node else [])
        self._watched += bypassing(node) if pods else ()
        self._others: OtherNodes[Read] | None = None
        self._followers: list[Follower[Read]] = []
        self._ended: list[str] = []  # names of followers that ended without being stopped
        self._lock = threading.Lock()  # the followers' threads write everything below
        self._known = Known((one.kind for one in (NODES, *self._watched)), self._met)
        self._unlisted: set[str] = set()
        self._kinds: Troubles[str] = Troubles()  # what cannot be followed
        self._outages: dict[str, tuple[float, str]] = {}  # since when (monotonic), and why, for required resources
        self._said: frozenset[str] = frozenset()  # reasons logged since the server was last reachable
        self._unused: tuple[Change, ...] = ()  # of a batch whose consumer did not ask for another
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Return what is left out at present, and what cannot be followed."""
        with self._lock:
            return (*self._kinds.problems, *self._known.problems)

    @property
    def reach(self) -> Reach:
        """Return which server is used, and since when it is unreachable."""
        with self._lock:
            since, reason = min(self._outages.values(), default=(None, ""))
        return Reach(f"{PLACE} {self._connection.server}", None if since is None else time_of_day(since), reason)

    async def batches(self) -> AsyncGenerator[Batch]:
        """Yield the first batch when everything has been listed. If called again, start again and repeat everything.

        Raises:
            SocklbError: a follower ended.
        """
        self._loop = asyncio.get_running_loop()
        first = True
        try:
            self._start()
            while True:
                await self._news.wait()
                self._news.clear()
                if self._ended:
                    raise SocklbError(ENDED, value=", ".join(self._ended))
                changes = self._take()
                if changes is not None and (changes or first):
                    self._unused = changes
                    yield Batch(changes, complete=True)
                    self._unused = changes = ()
                    if first:
                        give_back()  # lists and JSON of a large cluster: tens of MB
                    first = False
        finally:
            for follower in self._followers:
                follower.stop()

    def _start(self) -> None:
        self._others = OtherNodes(self._connection, self, but=self._node)
        self._followers = [self._others, *(Reflector(one, self._connection, self) for one in self._watched)]
        with self._lock:
            self._unlisted = {one.resource.name for one in self._followers}
            self._known.tell_again(self._unused)
        self._ended = []
        for one in self._followers:
            threading.Thread(target=self._run, args=[one], name=one.resource.name, daemon=True).start()

    def _run(self, follower: Follower[Read]) -> None:
        """Follow. An end that nobody asked for is reported to the consumer of batches, which starts again."""
        try:
            follower.run()
        finally:
            if not follower.stopped:
                self._ended.append(follower.resource.name)
                self._tell()

    def _take(self) -> tuple[Change, ...] | None:
        """Return what changed, or None until everything has been listed."""
        with self._lock:
            return None if self._unlisted else self._known.take()

    def read(self, resource: Resource, raw: bytes) -> Read:
        """Decode an object."""
        return read(resource, raw)

    def replaced(self, resource: Resource, found: list[Read]) -> None:
        """Take over a whole list."""
        with self._lock:
            self._known.replace(resource.kind, found, lambda key: self._belongs(resource, key))
            self._unlisted.discard(resource.name)
        self._tell()

    def changed(self, found: Read, *, gone: bool) -> None:
        """Take over an event."""
        with self._lock:
            if not gone:
                self._known.note(found)
            elif found.id:
                self._known.forget(found.id)
            news = self._known.news
        if news:
            self._tell()

    def lost(self, resource: Resource, names: Iterable[str]) -> None:
        """Take over that objects are deleted."""
        with self._lock:
            for name in names:
                self._known.forget((resource.kind, name))
        self._tell()

    def reached(self, resource: Resource) -> None:
        """Note that an outage is over."""
        with self._lock:
            was, outage = self._kinds.settle(resource.name), self._outages.pop(resource.name, None)
            over = outage is not None and not self._outages
            if over:
                self._said = frozenset()
        if outage and over:
            seconds = time.monotonic() - outage[0]
            log.info("the Kubernetes API is in reach again, after %.0f s: %s", seconds, self.reach.where)
        elif was and not outage:
            log.info("%s: followed again", resource.name)
        for other in self._followers:
            other.hasten()

    def failed(self, resource: Resource, error: ApiError, retry: float, *, without: bool) -> None:
        """Note an outage; log it once, and again if its reason changes."""
        absent = without and error.status == 404  # an older server
        cause = error.__cause__ if isinstance(error, UnexpectedError) else None
        with self._lock:
            text = f"{WITHOUT if without else 'cannot be followed'}: {error}"
            news = not absent and self._kinds.note(resource.name, Problem(PLACE, 0, "", text, resource.name))
            if without:
                self._unlisted.discard(resource.name)
                self._outages.pop(resource.name, None)
            else:
                since, _ = self._outages.get(resource.name, (time.monotonic(), ""))
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
        """Return whether an object belongs to a resource: this node's Node has a follower of its own."""
        return resource.kind != NODES.kind or (key == self._node) == bool(resource.fields)

    def _met(self, found: Object) -> None:
        if isinstance(found, EndpointSlice) and self._others:
            self._others.wanted({endpoint.nodeName for endpoint in found.endpoints})

    def _tell(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.set)
