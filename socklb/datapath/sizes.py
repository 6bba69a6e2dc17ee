"""How many frontends and backends the tables have room for."""

from __future__ import annotations

from typing import NamedTuple


class Sizes(NamedTuple):
    """frontends: an address, port and protocol each, 180 bytes; backends: 24 bytes each, equal sets once."""

    frontends: int = 1 << 16
    backends: int = 1 << 18

    def by_table(self) -> dict[str, int]:
        """Give the entries of every table whose size is chosen."""
        frontends = dict.fromkeys(("frontends", "frontend_rows", "service_addrs"), self.frontends)
        return {**frontends, "backends": self.backends}
