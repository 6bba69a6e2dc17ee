"""How many frontends and backends the tables have room for, and how large each table is for it."""

from __future__ import annotations

from typing import NamedTuple

FOR_EXCHANGE = 1 << 16  # rows at most
FOR_NODES = 1 << 16  # addresses: 5,000 nodes with four in each of two families, and more


class Sizes(NamedTuple):
    """frontends: an address, port and protocol each, some 200 bytes; backends: 24 bytes each, equal sets once.

    Tables whose size is not in `by_table` are about sockets. They are the same for all sizes: what live sockets were
    given stays where it is when the others grow.
    """

    frontends: int = 1 << 17
    backends: int = 1 << 20

    def by_table(self) -> dict[str, int]:
        """Give the entries of every table whose size is chosen.

        `backends` has more rows than are promised: a set is exchanged for another by having both for a moment.
        """
        return {
            **dict.fromkeys(("frontends", "frontend_rows", "service_addrs"), self.frontends),
            "node_addrs": max(self.frontends, FOR_NODES),
            "backends": self.backends + min(self.backends, FOR_EXCHANGE),
        }

    def at_least(self, other: Sizes) -> Sizes:
        """Give the larger of both, number by number."""
        return Sizes(max(self.frontends, other.frontends), max(self.backends, other.backends))


def promised(rows: int) -> int:
    """Give how many backends a table of so many rows has room for."""
    return rows // 2 if rows <= 2 * FOR_EXCHANGE else rows - FOR_EXCHANGE
