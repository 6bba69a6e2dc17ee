"""The tables of one node, as frontends and the backends that serve them.

    tables = Tables(Path("/sys/fs/bpf/socklb/v1/maps"))
    tables.serving(frontend)          # read back from the kernel when the tables were opened
    tables.apply(Difference(put={frontend: Serving(backends)}))

A reader in the kernel sees a frontend's old set or its new one, never a mix and never another frontend's: a set is
written to rows that nothing leads to, then published by one 64-bit store, and rows that were withdrawn are reused only
when no reader can still hold them. What does not fit is left as it was and waits for room; nothing is evicted.

One writer at a time: the caller holds the lock of `pins.Pins`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from socklb.datapath import barrier, layout
from socklb.datapath.address_filter import AddressFilter
from socklb.datapath.maps import HashTable, RowTable
from socklb.datapath.rows import NoRoomError, Rows
from socklb.datapath.sets import BackendSets
from socklb.datapath.view import Fill
from socklb.serving import Addresses, Difference, Frontend, Serving


@dataclass(slots=True)
class _Published:
    row: int
    options: int
    base: int | None  # None: no backends


class Tables:
    """The frontends, backends and addresses that the hooks read."""

    def __init__(self, directory: Path) -> None:
        """Open the pinned maps in `directory` and read back what they hold."""
        self._frontends = HashTable(directory, "frontends", layout.FRONTEND_KEY.size, layout.ROW_INDEX.size)
        self._frontend_rows = RowTable(directory, "frontend_rows", layout.FRONTEND_ROW.size)
        self._backends = RowTable(directory, "backends", layout.BACKEND_ROW.size)
        self._filter_words = RowTable(directory, "address_filter", layout.FILTER_WORD.size)
        names = ("service_addrs", "node_addrs", "own_addrs")  # as in `Addresses`
        self._address_tables = [HashTable(directory, name, 16, 1) for name in names]
        self._published: dict[Frontend, _Published] = {}
        self._rows = Rows(self._frontend_rows.capacity, barrier.wait_for_readers)
        self._loads = RowTable(directory, "loads", layout.LOAD.size)
        self._sets = BackendSets(self._backends, self._loads)
        self._filter = AddressFilter(self._filter_words)
        self.waiting: dict[Frontend, Serving] = {}
        self._room_tried = 0
        self.writes: Counter[str] = Counter()
        self._addresses = [{key for key, _ in table.items()} for table in self._address_tables]
        self._homeless: list[set[bytes]] = [set() for _ in names]  # addresses that found no room, table by table
        self._read_back()

    def close(self) -> None:
        """Close the maps; the pins keep them."""
        for table in (
            self._frontends,
            self._frontend_rows,
            self._backends,
            self._filter_words,
            self._loads,
            *self._address_tables,
        ):
            table.close()

    @property
    def frontends(self) -> frozenset[Frontend]:
        """Every frontend that is served."""
        return frozenset(self._published)

    @property
    def addresses(self) -> Addresses:
        """The addresses that are known."""
        return Addresses(*map(frozenset, self._addresses))

    @property
    def without_backends(self) -> int:
        """How many frontends are refused for want of a backend."""
        return len(self._published) - self._sets.users

    @property
    def addresses_waiting(self) -> int:
        """How many addresses found no room."""
        return sum(map(len, self._homeless))

    def fill(self) -> list[Fill]:
        """Say how full the tables are, from memory."""
        of_addresses = zip(self._address_tables, self._addresses, strict=True)
        return [
            Fill("frontends", len(self._published), self._frontends.capacity),
            Fill("backends", self._sets.rows.used, self._backends.capacity),
            *(Fill(table.name, len(known), table.capacity) for table, known in of_addresses),
        ]

    def serving(self, frontend: Frontend) -> Serving | None:
        """Give how a frontend is served, or None if it is not."""
        published = self._published.get(frontend)
        return published and layout.unpack_options(published.options, self._sets.read(published.base))

    def apply(self, difference: Difference) -> None:
        """Bring a difference to the kernel. Afterwards `waiting` holds what found no room."""
        for frontend in difference.delete:
            self.waiting.pop(frontend, None)
        self._put(difference.put)
        self._add(difference.add)
        self._delete(difference)
        if self.addresses_waiting:
            self._add(Addresses())
        if self.waiting and self._room_made != self._room_tried:
            self._room_tried = self._room_made
            self._put(dict(self.waiting))

    @property
    def _room_made(self) -> int:
        """Give how often room was made. Until it is again, what found none need not be tried: it may be thousands."""
        return self._rows.given_back + self._sets.rows.given_back

    def _put(self, wanted: Mapping[Frontend, Serving]) -> None:
        """Fill all sets, publish those of known frontends, then make the new frontends known."""
        changed: list[tuple[_Published, int | None, int]] = []
        new: list[tuple[Frontend, int | None]] = []
        room = self._rows.capacity - self._rows.used
        for frontend, serving in wanted.items():
            known = self._published.get(frontend)
            self.waiting[frontend] = serving
            if known is None and len(new) == room:
                continue
            try:
                base = self._sets.acquire(serving.backends, counted=serving.least_loaded)
            except NoRoomError:
                continue
            del self.waiting[frontend]
            if known is None:
                new.append((frontend, base))
            else:
                changed.append((known, base, layout.pack_options(serving)))
        self.writes["backends"] += self._sets.take_writes()
        barrier.order_stores()
        for known, base, options in changed:
            self._publish(known, base, options)
        if new:
            self._make_known(new, wanted)

    def _publish(self, known: _Published, base: int | None, options: int) -> None:
        """Exchange a set or the options of a frontend. Each is one store: between them the old set is served anew."""
        if options != known.options:
            self._frontend_rows.publish(known.row, layout.OPTIONS_OFFSET, options)
            self.writes["rows"] += 1
        if base != known.base:
            self._frontend_rows.publish(known.row, layout.SET_OFFSET, self._sets.word(base))
            self.writes["rows"] += 1
        self._sets.release(known.base)
        known.base, known.options = base, options

    def _make_known(self, new: Sequence[tuple[Frontend, int | None]], wanted: Mapping[Frontend, Serving]) -> None:
        placed: list[_Published] = []
        items: list[tuple[bytes, bytes]] = []
        for frontend, base in new:
            row, key = self._rows.take(1), layout.pack_frontend(frontend)
            options = layout.pack_options(wanted[frontend])
            self._frontend_rows.write(row, layout.FRONTEND_ROW.pack(key, self._sets.word(base), options))
            self._filter.add(frontend.address)
            placed.append(_Published(row, options, base))
            items.append((key, layout.ROW_INDEX.pack(row)))
        self.writes["rows"] += len(placed)
        barrier.order_stores()
        done = self._frontends.put(items)
        self.writes["frontends"] += done
        self._published.update(zip((frontend for frontend, _ in new[:done]), placed, strict=False))
        for (frontend, base), published in zip(new[done:], placed[done:], strict=True):
            self._rows.give_back(published.row)
            self._sets.release(base)
            self._filter.remove(frontend.address)
            self.waiting[frontend] = wanted[frontend]

    def _add(self, added: Addresses) -> None:
        """Make addresses known, and those that found no room before."""
        columns = zip(self._address_tables, self._addresses, self._homeless, added, strict=True)
        for table, known, homeless, addresses in columns:
            new = sorted((addresses | homeless) - known)
            homeless.clear()
            if new:
                for address in new:
                    self._filter.add(address)
                done = table.put([(address, layout.PRESENT) for address in new])
                for address in new[done:]:
                    self._filter.remove(address)
                    homeless.add(address)
                known.update(new[:done])
                self.writes["addresses"] += done

    def _delete(self, difference: Difference) -> None:
        """Frontends first: until its address is gone too, a deleted Service is refused and not sent astray."""
        gone = [frontend for frontend in difference.delete if frontend in self._published]
        if gone:
            self._frontends.delete(layout.pack_frontend(frontend) for frontend in gone)
            self.writes["frontends"] += len(gone)
        for frontend in gone:
            published = self._published.pop(frontend)
            self._rows.give_back(published.row)
            self._sets.release(published.base)
            self._filter.remove(frontend.address)
        columns = zip(self._address_tables, self._addresses, self._homeless, difference.remove, strict=True)
        for table, known, homeless, removed in columns:
            homeless.difference_update(removed)
            old = removed & known
            if old:
                table.delete(old)
                known.difference_update(old)
                for address in old:
                    self._filter.remove(address)
                self.writes["addresses"] += len(old)

    def _read_back(self) -> None:
        """Learn from the maps what an earlier agent published, also one that was killed half way.

        Rows that no hash element leads to, and ranges that no row leads to, are free.
        """
        sets: list[tuple[int, int]] = []
        for key, value in self._frontends.items():
            (row,) = layout.ROW_INDEX.unpack(value)
            _, word, options = layout.FRONTEND_ROW.unpack(self._frontend_rows.read(row))
            base, count = layout.unpack_set(word)
            sets.append((base, count))
            self._published[layout.unpack_frontend(key)] = _Published(row, options, base if count else None)
        self._sets.adopt(sets)
        self._rows.adopt((published.row, 1) for published in self._published.values())
        self._filter.adopt(chain((frontend.address for frontend in self._published), *self._addresses))
