"""The bitmap that lets the hooks skip the hash lookup for most addresses.

A bit is set before an address is added and cleared after it was removed, so a clear bit always means "not a Service's".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from socklb.datapath import layout
from socklb.datapath.maps import RowTable


class AddressFilter:
    """One bit per hash of an address, and how often each bit is used."""

    def __init__(self, table: RowTable) -> None:
        self._table = table
        self._users: Counter[int] = Counter()

    def adopt(self, addresses: Iterable[bytes]) -> None:
        """Set the bits of all addresses that the tables hold already, given once per use, and clear all others."""
        self._users = Counter(map(layout.filter_bit, addresses))
        words: Counter[int] = Counter()
        for bit in self._users:
            words[bit // 64] |= 1 << bit % 64
        for index, (found,) in enumerate(layout.FILTER_WORD.iter_unpack(self._table.read(0, self._table.capacity))):
            if found != words[index]:
                self._table.publish(index, 0, words[index])

    def add(self, address: bytes) -> None:
        """Count one more use."""
        bit = layout.filter_bit(address)
        users = self._users.get(bit, 0)
        self._users[bit] = users + 1
        if not users:
            self._flip(bit)

    def remove(self, address: bytes) -> None:
        """Count one use less."""
        bit = layout.filter_bit(address)
        self._users[bit] -= 1
        if not self._users[bit]:
            del self._users[bit]
            self._flip(bit)

    def _flip(self, bit: int) -> None:
        self._table.publish(bit // 64, 0, self._table.word(bit // 64, 0) ^ 1 << bit % 64)
