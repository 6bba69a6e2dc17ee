"""The addresses that the hooks know, in one table. Addresses that do not fit wait, at no cost, until there is room."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from socklb.datapath import layout
from socklb.datapath.address_filter import AddressFilter
from socklb.datapath.dump import Fill
from socklb.datapath.maps import HashTable

TABLES = ("service_addrs", "node_addrs", "own_addrs")  # as in `Addresses`


class KnownAddresses:
    """One table: the addresses in it, and those that wait."""

    def __init__(self, directory: Path, name: str, bits: AddressFilter) -> None:
        """Open the table and read back what it holds."""
        self._table = HashTable(directory, name, 16, 1)
        self._filter = bits
        self.read_back()

    def read_back(self) -> None:
        """Read what the table holds; nothing waits afterwards. The caller, who reads all tables, adopts the filter's
        bits.
        """
        self._homeless: dict[bytes, None] = {}  # in order of arrival
        self.known = {key for key, _ in self._table.items()}

    def close(self) -> None:
        """Close the table; the pin keeps it."""
        self._table.close()

    @property
    def waiting(self) -> int:
        """Return how many did not fit."""
        return len(self._homeless)

    @property
    def homeless(self) -> frozenset[bytes]:
        """Return those that did not fit."""
        return frozenset(self._homeless)

    @property
    def fill(self) -> Fill:
        """Return how full the table is."""
        return Fill(self._table.name, len(self.known), self._table.capacity)

    def add(self, addresses: Iterable[bytes]) -> int:
        """Add addresses, those that wait first, as far as there is room; return how many were added."""
        self._homeless.update(dict.fromkeys(sorted(address for address in addresses if address not in self.known)))
        new = list(islice(self._homeless, self._table.capacity - len(self.known)))
        for address in new:
            self._filter.add(address)
        done = self._table.put([(address, layout.PRESENT) for address in new])
        for address in new[done:]:
            self._filter.remove(address)
        for address in new[:done]:
            del self._homeless[address]
        self.known.update(new[:done])
        return done

    def remove(self, addresses: frozenset[bytes]) -> int:
        """Remove addresses; return how many were in the table."""
        for address in addresses & self._homeless.keys():
            del self._homeless[address]
        old = addresses & self.known
        self._table.delete(old)
        self.known.difference_update(old)
        for address in old:
            self._filter.remove(address)
        return len(old)
