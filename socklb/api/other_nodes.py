"""The other Nodes of the cluster: which ones exist, and their addresses, at a cost that is linear in their number.

    others = OtherNodes(connection, sink, but="node-1")
    threading.Thread(target=others.run, daemon=True).start()
    others.wanted(["node-7"])        # an endpoint is said to be there: do not wait for the next look

A watch of all Nodes would bring each kubelet's report to each agent: 83,000 events and 1.1 GB a second at 5,000 nodes
(docs/decisions/0007-other-nodes-by-looking.md). So the agent polls a table of names and addresses from the server's
cache, less often the more Nodes there are. Nodes that are new there, that have another address, or that are younger
than ten minutes are read one by one; now and then all of them are read in full, for what the table does not show:
second addresses, and podCIDRs of older Nodes.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from socklb.api.connection import JSON, Connection
from socklb.api.failures import ApiError, NotServedError
from socklb.api.follower import Follower
from socklb.api.lists import FROM_CACHE, Lister
from socklb.api.resources import NODES, Found, Sink

LOOK_EVERY, LOOK_PER_NODE, LOOK_MOST = 5.0, 0.1, 500.0  # seconds: all agents together poll at most ten times a second
WHOLE_EVERY, WHOLE_PER_NODE, WHOLE_MOST = 30.0, 17.0, 86_400.0
SPREAD = 0.25  # a pause is at random up to this fraction shorter or longer
WANTED_PER_NODE, WANTED_MOST = (
    0.005,
    25.0,
)  # seconds over which agents spread requests for a Node new to all
SILENCE, STALL = 90.0, 30.0
TABLE = f"application/json;as=Table;v=v1;g=meta.k8s.io, {JSON}"
SHOWN = ("Internal-IP", "External-IP")
# An age as the server writes it, up to a bit more than LOOK_MOST: "9s", "119s", "4m30s", "10m" (HumanDuration).
YOUNG = re.compile(r"\d+s|(\d|10)m(\d+s)?")
ONE_BY_ONE = 20  # plus a tenth of the Nodes: if more are to be read, all are read at once


class _Column(msgspec.Struct):
    name: str


class _Row(msgspec.Struct):
    cells: list[str | int | float | bool | None]


class _Table(msgspec.Struct):
    kind: str = ""
    columnDefinitions: list[_Column] = []  # noqa: N815
    rows: list[_Row] | None = None
    items: list[msgspec.Raw] | None = None  # from a server without tables


# As in reading.py: no thread may be the first to use a type.
TABLES = msgspec.json.Decoder(_Table)


class Row(NamedTuple):
    """A Node's row in the table."""

    addresses: tuple[str, ...]
    young: bool


class OtherNodes(Follower[Found]):
    """See the module."""

    def __init__(self, connection: Connection, sink: Sink[Found], *, but: str = "") -> None:
        """Prepare to follow them. `but`: the name of this node, whose Node has a follower of its own."""
        super().__init__(NODES._replace(title="other Nodes"), connection, sink)
        self._but = but
        self._lister = Lister(self.resource, self._asker, sink, silence=SILENCE, stall=STALL)
        self._lock = threading.Lock()  # for the next three
        self._seen: dict[str, tuple[str, ...]] | None = None  # addresses by name, as in the table when each was read
        self._wanted: set[str] = set()
        self._asked: set[str] = set()  # wanted since the last poll
        self._wake = threading.Event()
        self._whole_at = 0.0  # monotonic: when to read all again

    def wanted(self, names: Iterable[str]) -> None:
        """Read these soon if they are unknown. May be called from any thread."""
        with self._lock:
            news = set(names) - (self._seen or {}).keys() - self._asked - {self._but, ""}
            self._wanted |= news
            self._asked |= news
        if news:
            self._wake.set()

    def stop(self) -> None:
        """End `run`."""
        super().stop()
        self._wake.set()

    def _start_anew(self) -> None:
        self._whole_at = 0.0

    def _follow(self) -> None:
        """Poll, and wait for the next time; meanwhile, read what is wanted."""
        rows = self._look()
        whole = time.monotonic() >= self._whole_at
        if whole:
            self._read_all()  # after the table: a Node that is added in between is new in the next one
        self._compare(rows, known=whole)
        self._works()
        until = time.monotonic() + _about(LOOK_EVERY, LOOK_PER_NODE * len(self._seen or ()), LOOK_MOST)
        while (left := until - time.monotonic()) > 0 and not self._asker.stopped.is_set():
            if self._wake.wait(left):
                self._read_wanted()

    def _look(self) -> dict[str, Row]:
        query = {"resourceVersion": FROM_CACHE, "includeObject": "None"}
        with self._asker.ask(self.resource.path, query, SILENCE, TABLE) as answer:
            body = self._asker.body(answer)
        try:
            table = TABLES.decode(body)
            if table.kind == "NodeList" or table.items is not None:
                found = [self._sink.read(self.resource, bytes(raw)) for raw in table.items or ()]
                self._sink.replaced(self.resource, found)
                return {}
            return rows_of(table)
        except (msgspec.MsgspecError, KeyError) as error:
            raise ApiError(f"no table of Nodes: {error}", value=answer.server) from error

    def _compare(self, rows: Mapping[str, Row], *, known: bool) -> None:
        """Read the Nodes that are new or changed in the table; `known`: all were read just now."""
        with self._lock:
            before = self._seen or {}
            kept = {name: row.addresses for name, row in rows.items() if known or before.get(name) == row.addresses}
            self._seen, self._asked = kept, set()
        if gone := before.keys() - rows.keys() - {self._but}:
            self._sink.lost(self.resource, gone)
        news = [name for name, row in rows.items() if not known and (row.young or name not in kept)]
        if len(news) > ONE_BY_ONE + len(rows) // 10:
            self._read_all()
        else:
            for name in news:
                self._read(name)
        with self._lock:
            self._seen.update((name, rows[name].addresses) for name in news)

    def _read_all(self) -> None:
        watch = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": "300"}
        with self._lister.listed("", watch) as listed:  # and then closed, if it is a stream
            self._sink.replaced(self.resource, listed.found)
            number = len(listed.found)
        self._whole_at = time.monotonic() + _about(WHOLE_EVERY, WHOLE_PER_NODE * number, WHOLE_MOST)

    def _read_wanted(self) -> None:
        self._wake.clear()
        # An EndpointSlice tells all agents at once about a new Node.
        self._asker.stopped.wait(random.uniform(0, min(WANTED_MOST, WANTED_PER_NODE * len(self._seen or ()))))
        with self._lock:
            names, self._wanted = self._wanted - (self._seen or {}).keys(), set()
        for name in sorted(names):
            self._read(name)

    def _read(self, name: str) -> None:
        if name == self._but:
            return
        path = f"{self.resource.path}/{quote(name, safe='')}"
        try:
            with self._asker.ask(path, {"resourceVersion": FROM_CACHE}, SILENCE) as answer:
                body = bytes(self._asker.body(answer))
        except NotServedError:  # it was deleted, or never existed
            self._sink.lost(self.resource, [name])
        else:
            self._sink.changed(self._sink.read(self.resource, body), gone=False)


def rows_of(table: _Table) -> dict[str, Row]:
    """Return the rows by the name of the Node.

    Raises:
        KeyError: a column is missing.
    """
    place = {column.name: n for n, column in enumerate(table.columnDefinitions)}
    name, age, *addresses = (place[column] for column in ("Name", "Age", *SHOWN))
    return {
        str(cells[name]): Row(tuple(str(cells[n]) for n in addresses), YOUNG.fullmatch(str(cells[age])) is not None)
        for cells in (row.cells for row in table.rows or ())
    }


def _about(least: float, wanted: float, most: float) -> float:
    return min(max(least, wanted), most) * random.uniform(1 - SPREAD, 1 + SPREAD)
