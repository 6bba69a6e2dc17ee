"""The networks that an address may be in, for the packet path alone.

networks.set({(pack_address("10.244.0.0"), 112): layout.POD_NETWORK})
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from socklb.datapath import layout
from socklb.datapath.dump import Fill
from socklb.datapath.maps import TrieTable


class Networks:
    """The table of networks: the flags of the longest matching prefix count."""

    def __init__(self, directory: Path) -> None:
        """Open the table and read back what it holds."""
        self._table = TrieTable(directory, "networks", layout.NETWORK.size, layout.NETWORK_FLAGS.size)
        self.read_back()

    def close(self) -> None:
        """Close the table; the pin keeps it."""
        self._table.close()

    def read_back(self) -> None:
        """Read what the table holds."""
        self.known = dict(self._table.items())
        self.waiting = 0  # how many did not fit; they are tried again with the next change

    @property
    def fill(self) -> Fill:
        """Return how full the table is."""
        return Fill(self._table.name, len(self.known), self._table.capacity)

    def set(self, flags: Mapping[tuple[bytes, int], int]) -> None:
        """Store exactly these networks, each an address and the length of its prefix."""
        wanted = {layout.pack_network(*prefix): layout.NETWORK_FLAGS.pack(flag) for prefix, flag in flags.items()}
        for key in self.known.keys() - wanted.keys():
            self._table.delete(key)
            del self.known[key]
        new = [(key, value) for key, value in wanted.items() if self.known.get(key) != value]
        written = {key: value for key, value in new if self._table.put(key, value)}
        self.known.update(written)
        self.waiting = len(new) - len(written)
