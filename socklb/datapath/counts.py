"""What the hooks count: connects by Service address and backend, and refusals by reason.

    with closing(Connects(maps)) as connects:
        connects.read()                 # {Led(asked, given, protocol): 17}
        connects.forget([led])          # backends that were removed long ago
    refusals(words)                     # {"no_endpoint": 3, …}; `words`: the table hook_counts

The counts survive restarts of the agent.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from socklb.datapath import layout
from socklb.datapath.decisions import TEXTS
from socklb.datapath.maps import HashTable, RowTable
from socklb.model import Backend

REFUSALS = ("no endpoint", "no such port", "port in use")


class Led(NamedTuple):
    """The Service address, the backend, and the IP protocol."""

    asked: Backend
    given: Backend
    protocol: int


class Connects:
    """The table of connects; empty if they are not counted."""

    def __init__(self, maps: Path) -> None:
        """Open the table."""
        self._table = HashTable(maps, "connects", layout.PEER.size, layout.COUNT.size)

    def read(self) -> dict[Led, int]:
        """Return all counts."""
        return {_unpack(key): int(layout.COUNT.unpack(value)[0]) for key, value in self._table.items()}

    def forget(self, gone: Iterable[Led]) -> None:
        """Delete these counts. A hook that is just counting may count another's connect as theirs, so no connect may
        use them.
        """
        self._table.delete(map(_pack, gone))

    def close(self) -> None:
        """Close the table; the pin keeps it."""
        self._table.close()


def refusals(counts: RowTable) -> dict[str, int]:
    """Return how many calls the hooks refused, by reason."""
    return {reason.replace(" ", "_"): counts.word(TEXTS.index(reason), 0) for reason in REFUSALS}


def _unpack(key: bytes) -> Led:
    asked, given, asked_port, given_port, raw = layout.PEER.unpack(key)
    return Led(Backend(asked, asked_port), Backend(given, given_port), socket.ntohl(raw))


def _pack(led: Led) -> bytes:
    asked, given, protocol = led
    return layout.PEER.pack(asked.address, given.address, asked.port, given.port, socket.htonl(protocol))
