"""The tables of one node, in terms of frontends and the backends that serve them.

    tables = MapWriter(Path("/sys/fs/bpf/socklb/v3/maps"))
    tables.serving(frontend)          # read back from the kernel when the tables were opened
    tables.apply(Difference(put={frontend: Serving(backends)}))

A reader in the kernel sees a frontend's old set or its new one, never a mix and never another frontend's: a set is
written to rows that nothing refers to, then published by one 64-bit store, and withdrawn rows are reused only when no
reader can still hold them. Removing never needs room: in full tables a frontend gets as many of its new backends as fit
(socklb/datapath/shares.py), and never keeps a removed one. What does not fit waits; it costs nothing until there is
room.

One writer at a time: the caller holds the lock of `pins.Pins`.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

from socklb.datapath import barrier, layout
from socklb.datapath.address_filter import AddressFilter
from socklb.datapath.allocator import NoRoomError
from socklb.datapath.backend_sets import BackendSets
from socklb.datapath.dump import Fill
from socklb.datapath.known_addresses import TABLES, KnownAddresses
from socklb.datapath.libbpf import BpfError
from socklb.datapath.maps import RowTable
from socklb.datapath.networks import Networks
from socklb.datapath.published import Published, PublishedFrontends
from socklb.datapath.shares import shares, some_of
from socklb.datapath.source_ranges import SourceRanges
from socklb.datapath.waiting import Waiting
from socklb.model import Addresses, Backend, Difference, Frontend, Serving

log = logging.getLogger(__name__)


class MapWriter:
    """The frontends, backends and addresses that the hooks read."""

    def __init__(self, directory: Path) -> None:
        """Open the pinned maps in `directory` and read back what they hold. Frontends that were lent are dropped."""
        self.writes: Counter[str] = Counter()
        self.repairs = 0  # damaged elements that were removed
        self._open(directory)
        self._delete(frozenset(frontend for frontend, published in self._published.items() if published.lent))

    def _open(self, directory: Path) -> None:
        self._backends = RowTable(directory, "backends", layout.BACKEND_ROW.size)
        self._filter_words = RowTable(directory, "address_filter", layout.FILTER_WORD.size)
        self._loads = RowTable(directory, "loads", layout.LOAD.size)
        self._filter = AddressFilter(self._filter_words)
        self._frontends = PublishedFrontends(directory, self._filter)
        self._addresses = [KnownAddresses(directory, name, self._filter) for name in TABLES]
        self.networks = Networks(directory)
        self._learn()

    def move_to(self, directory: Path) -> None:
        """Continue with larger tables of the same contents, and add what waited for room."""
        waited, addresses = dict(self.waiting), Addresses(*(table.homeless for table in self._addresses))
        ranges = self._frontends.ranges.homeless
        self.close()
        self._open(directory)
        self._frontends.ranges.bring(ranges)
        self.apply(Difference(put=waited, add=addresses))

    def close(self) -> None:
        """Close the maps; the pins keep them."""
        for table in (
            self._frontends,
            self._backends,
            self._filter_words,
            self._loads,
            self.networks,
            *self._addresses,
        ):
            table.close()

    @property
    def _published(self) -> dict[Frontend, Published]:
        return self._frontends.known

    @property
    def frontends(self) -> frozenset[Frontend]:
        """Return every frontend that is served, except lent ones."""
        return frozenset(frontend for frontend, published in self._published.items() if not published.lent)

    @property
    def addresses(self) -> Addresses:
        """Return the addresses in the tables."""
        return Addresses(*(frozenset(table.known) for table in self._addresses))

    @property
    def without_backends(self) -> int:
        """Return how many frontends are refused because they have no backend; second rows are not counted."""
        outside = sum(1 for published in self._frontends.outside.values() if not published.word)
        return len(self._published) - self._sets.users - outside

    @property
    def count(self) -> int:
        """Return how many frontends are served, except lent ones; second rows are not counted."""
        return len(self._published) - self._frontends.lent - len(self._frontends.outside)

    @property
    def _others(self) -> list[KnownAddresses | SourceRanges]:
        return [*self._addresses, self._frontends.ranges]

    @property
    def waiting(self) -> Mapping[Frontend, Serving]:
        """Return what did not fit, as it should be: frontends that are not served, and those that lack backends."""
        return self._waiting.all

    @property
    def addresses_waiting(self) -> int:
        """Return how many addresses and networks did not fit."""
        return sum(table.waiting for table in (*self._addresses, self.networks))

    @property
    def ranges_waiting(self) -> int:
        """Return how many source ranges did not fit."""
        return self._frontends.ranges.waiting

    def fill(self) -> list[Fill]:
        """Return how full the tables are, from memory."""
        return [
            Fill("frontends", len(self._published) - self._frontends.lent, self._frontends.capacity),
            Fill("backends", self._sets.rows.used, self._sets.limit),
            *(table.fill for table in self._others),
            self.networks.fill,
        ]

    def needed(self) -> dict[str, int]:
        """Return how many entries the tables would need for what waits too; an upper bound, as waiting sets may be
        equal.

        Empty if nothing waits.
        """
        found = {table.fill.name: table.fill.used + table.waiting for table in self._others if table.waiting}
        if self.waiting:
            sets = {(serving.least_loaded, serving.backends) for serving in self.waiting.values()}
            found["frontends"] = len(self._published.keys() | self.waiting.keys())
            found["backends"] = self._sets.rows.used + sum(len(backends) for _, backends in sets)
        return found

    def serving(self, frontend: Frontend) -> Serving | None:
        """Return how a frontend is served, or None if it is not."""
        published = self._published.get(frontend)
        return published and layout.unpack_options(published.options, self._sets.read(published.word))

    def apply(self, difference: Difference) -> None:
        """Apply a difference to the kernel. Afterwards `waiting` holds what did not fit.

        Deletions come first and make room. Addresses are removed last: until then a deleted Service is refused, and its
        traffic does not go elsewhere.

        Raises:
            BpfError: the kernel refused a part. How much was applied is unknown: call `read_back` next.
        """
        self._delete(difference.delete)
        self._put(difference.put)
        self._use_room()
        for table, gone in zip(self._addresses, difference.remove, strict=True):
            self.writes["addresses"] += table.remove(gone)
        for table, came in zip(self._addresses, difference.add, strict=True):
            self.writes["addresses"] += table.add(came)

    @contextmanager
    def lent(self, frontends: Mapping[Frontend, Serving]) -> Generator[bool]:
        """Serve frontends of the agent's own within the block, uncounted; yield whether there was room."""
        if self.waiting or len(frontends) > min(self._room):
            yield False
            return
        try:
            self._apply_uncounted(Difference({key: serving._replace(lent=True) for key, serving in frontends.items()}))
            yield True
        finally:
            self._apply_uncounted(Difference(delete=frozenset(frontends)))

    def _apply_uncounted(self, difference: Difference) -> None:
        written = self.writes.copy()
        try:
            self.apply(difference)
        except BpfError:  # it is not part of a batch, so nobody else calls read_back()
            self.read_back()
            raise
        self.writes = written

    @property
    def _room(self) -> tuple[int, int]:
        """Return how many more frontends and backends fit."""
        return self._frontends.room, self._sets.room

    def _use_room(self) -> None:
        """Give the available room to those that wait."""
        while next_ones := self._waiting.for_room(*self._room, self._missing):
            self._put(next_ones)

    def _is_there(self, serving: Serving) -> bool:
        """Return whether a frontend would need no room for backends."""
        rows = layout.pack_backends(serving.backends)
        return not rows or bool(self._sets.find(rows, counted=serving.least_loaded))

    def _missing(self, frontend: Frontend) -> int:
        """Return how many backends a served frontend lacks."""
        return len(self.waiting[frontend].backends) - self._sets.size(self._published[frontend].word)

    def _put(self, wanted: Mapping[Frontend, Serving], *, again: bool = False) -> None:
        """Write all sets, publish those of known frontends, then make the new frontends known."""
        together = {**self._waiting.beside(wanted, self._room[0]), **wanted} if self.waiting else wanted
        placeable, late = self._with_a_row(together), dict[Frontend, Serving]()
        for frontend, backends in shares(placeable, self._published, self._sets):
            serving, known = placeable[frontend], self._published.get(frontend)
            word = self._place(backends, serving, known)
            if known and serving.backends and not word and not again:
                late[frontend] = serving
                continue
            if self._waiting.all and word:
                self._waiting.there_is(Serving(self._sets.read(word), least_loaded=self._sets.is_counted(word)))
            if self._sets.serves(word, serving):
                self._waiting.forget(frontend)
            else:
                self._waiting.put(frontend, serving, served=bool(known or word))
                if not known and not word:
                    continue
            if serving.least_loaded and not self._sets.is_counted(word):
                serving = serving._replace(least_loaded=False)
            options = layout.pack_options(serving)
            if known is None:
                self._new.append((frontend, Published(-1, options, word, serving.sources)))
            else:
                self._frontends.ranges.widen(known.row, serving.sources)
                self._changed.append((known, word, options))
        self._flush()
        if late:  # no free row, and nothing they have is wanted: that is withdrawn first
            self._changed += [(known, 0, known.options) for known in map(self._published.__getitem__, late)]
            self._flush()
            self._put(late, again=True)

    def _with_a_row(self, wanted: Mapping[Frontend, Serving]) -> Mapping[Frontend, Serving]:
        """Leave out new frontends for which there is no row: those with the most backends first."""
        new = [frontend for frontend in wanted if frontend not in self._published]
        surplus = len(new) - self._room[0]
        if surplus <= 0:
            return wanted
        without = set(sorted(new, key=lambda frontend: len(wanted[frontend].backends))[-surplus:])
        for frontend in without:
            self._waiting.put(frontend, wanted[frontend], served=False)
        return {frontend: serving for frontend, serving in wanted.items() if frontend not in without}

    def _place(self, backends: tuple[Backend, ...], serving: Serving, known: Published | None) -> int:
        """Get a set into the table: at once, or once the others are published, or after free rows are joined.

        If the free rows are still too few, half of the set is placed first, and the rest when the old set's rows are
        free. If no row is free at all, the longest wanted run of the old set is used.
        """
        for make_room in (self._flush, self._slide):
            try:
                return self._sets.acquire(backends, counted=serving.least_loaded)
            except NoRoomError:
                make_room()
        old = known.word if known else 0
        for count in (len(backends), min(len(backends) // 2 or 1, self._sets.rows.longest())):
            with suppress(NoRoomError):
                some = backends if count == len(backends) else some_of(backends, self._sets.read(old), count)
                if some:
                    return self._sets.acquire(some, counted=serving.least_loaded)
        return self._sets.acquire_part(old, backends) if old else 0

    def _slide(self) -> None:
        users: defaultdict[int, list[Published]] = defaultdict(list)
        for published in self._published.values():
            users[published.word].append(published)

        def lead(word: int, to: int) -> None:
            barrier.order_stores()
            for published in users[word]:
                self._frontends.publish_set(published, to)

        self._sets.slide(lead)

    def _flush(self) -> None:
        """Publish what was placed, and give back the rows that it replaces."""
        self.writes["backends"] += self._sets.take_writes()
        barrier.order_stores()
        for known, word, options in self._changed:
            self._publish(known, word, options)
        self._changed.clear()
        if self._new:
            self._make_known()
        self._frontends.ranges.narrow()

    def _publish(self, known: Published, word: int, options: int) -> None:
        """Exchange the set or the options of a frontend. Each is one store: between the two, the old set is served with
        new options.
        """
        if options != known.options:
            self._frontends.publish_options(known, options)
            self.writes["rows"] += 1
        before = known.word
        if word != before:
            self._frontends.publish_set(known, word)
            self.writes["rows"] += 1
        self._sets.release(before)

    def _make_known(self) -> None:
        done = self._frontends.make_known(self._new)
        self.writes["rows"] += len(self._new)
        self.writes["frontends"] += done
        for frontend, new in self._new[done:]:
            serving = layout.unpack_options(new.options, self._sets.read(new.word))
            self._waiting.put(frontend, serving._replace(sources=new.sources), served=False)
            self._sets.release(new.word)
        self._new.clear()

    def _delete(self, frontends: frozenset[Frontend]) -> None:
        for frontend in frontends:
            self._waiting.forget(frontend)
        gone = [frontend for frontend in frontends if frontend in self._published]
        self.writes["frontends"] += len(gone)
        for published in self._frontends.forget(gone):
            self._sets.release(published.word)

    def read_back(self) -> None:
        """Forget what is remembered, and read from the maps what they hold: a change failed, or somebody else wrote.

        Raises:
            BpfError: they cannot be read.
        """
        barrier.wait_for_readers()  # of rows that were just withdrawn, and are free now
        for table in (*self._addresses, self.networks):
            table.read_back()
        self._learn()

    def _learn(self) -> None:
        """Read from the maps what an earlier agent published, even if it was killed half way.

        Ranges that no row refers to are free. A frontend whose element was damaged is written again when it is put.
        """
        self._sets = BackendSets(self._backends, self._loads)
        self._waiting = Waiting(self._is_there)
        self._changed: list[tuple[Published, int, int]] = []  # sets and options to publish together
        self._new: list[tuple[Frontend, Published]] = []
        damaged = self._frontends.read_back(self._sets.is_set)
        if damaged:
            log.warning("the table of frontends was damaged from outside: %d of its elements led astray", damaged)
            self.repairs += damaged
        self._sets.adopt(published.word for published in self._published.values())
        known = (table.known for table in self._addresses)
        self._filter.adopt(chain((frontend.address for frontend in self._published), *known))
