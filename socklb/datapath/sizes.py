"""How many frontends and backends the tables have room for, and how large each table is for that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

FOR_EXCHANGE = 1 << 16  # rows at most
FOR_NODES = 1 << 16  # addresses: 5,000 nodes with four in each of two families, and more
FOR_CLIENTS = 1 << 16  # pods of this node times Services with session affinity
FOR_OWN = 1 << 10  # addresses of this node


class Sizes(NamedTuple):
    """frontends: an address, port and protocol each, some 200 bytes; backends: 32 bytes each, equal sets once.

    Tables that are not in `by_table` are about sockets. Their size is always the same: the records of live sockets stay
    where they are when the other tables grow.
    """

    frontends: int = 1 << 17
    backends: int = 1 << 20

    def by_table(self) -> dict[str, int]:
        """Return the capacity of every table whose size is chosen.

        `backends` has more rows than promised: while a set is replaced by another, both are in the table for a moment.
        """
        return {
            **dict.fromkeys(("frontends", "frontend_rows", "service_addrs"), self.frontends),
            "node_addrs": max(self.frontends, FOR_NODES),
            "own_addrs": max(self.frontends // 128, FOR_OWN),
            "source_ranges": self.frontends,
            "affinity": max(self.frontends // 2, FOR_CLIENTS),
            "backends": self.backends + min(self.backends, FOR_EXCHANGE),
            "loads": self.backends + 1,  # the first row stands for "not counted"
        }

    def at_least(self, other: Sizes) -> Sizes:
        """Return the larger of both, number by number."""
        return Sizes(max(self.frontends, other.frontends), max(self.backends, other.backends))

    def at_most(self, other: Sizes) -> Sizes:
        """Return the smaller of both, number by number."""
        return Sizes(min(self.frontends, other.frontends), min(self.backends, other.backends))

    def promised(self) -> dict[str, int]:
        """Return how many entries may be in the tables that get full."""
        room = self.by_table()
        return {**{name: room[name] for name in FILLED}, "backends": self.backends}

    def enough_for(self, needed: Mapping[str, int], most: Sizes) -> Sizes:
        """Return these sizes, doubled until each table has as many entries as needed, but not beyond `most`."""
        found = self
        while lacking := {name for name, room in found.promised().items() if needed.get(name, 0) > room}:
            larger = Sizes(
                found.frontends * (2 if lacking - {"backends"} else 1),
                found.backends * (2 if "backends" in lacking else 1),
            ).at_most(most.at_least(found))
            if larger == found:
                break
            found = larger
        return found


MOST = Sizes(1 << 20, 1 << 23)  # unless the configuration says otherwise
FILLED = ("frontends", "service_addrs", "node_addrs", "own_addrs", "source_ranges")


def promised(rows: int) -> int:
    """Return how many entries the tables that can become full may hold."""
    return rows // 2 if rows <= 2 * FOR_EXCHANGE else rows - FOR_EXCHANGE
