"""What the hooks recorded about sockets: which backend was given to which socket, by the socket's cookie.

    with closing(Records(maps)) as records:
        records.slots()             # {cookie: Record}: those that have a slot
        records.storage             # the map of the others, which live with their sockets
        records.of_socket(fd)       # what the kernel keeps with a socket

A record alone does not prove that its socket is alive: if the hook was not attached at the release, the slot is freed
later (`sockets.ended`).
"""

from __future__ import annotations

import ctypes as ct
import errno
import socket
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from socklb.datapath import dump, layout, libbpf
from socklb.datapath.maps import PinnedMap, RowTable
from socklb.datapath.own_network import cookie_of
from socklb.model import Backend

SLOTS, STORAGE = "sockets", "more_peers"
END_OF_ASKED = 16  # in a slot: the second half of the Service address
PEER_OF_SLOT = slice(8, layout.SOCKET_SLOT.size - layout.ROW_INDEX.size)  # without its note
TRIES = 10


class Record(NamedTuple):
    """The Service address and port of a socket, and the backend that it was given."""

    asked: Backend
    given: Backend


class Records:
    """See the module."""

    def __init__(self, maps: Path) -> None:
        """Open the pinned maps; kernels before 5.12 have no slots."""
        self._maps = maps
        self._slots = RowTable(maps, SLOTS, layout.SOCKET_SLOT.size) if (maps / SLOTS).exists() else None
        self.storage = PinnedMap(maps, STORAGE, 4, layout.MORE_PEERS.size)

    @property
    def spilled(self) -> bool:
        """Return whether any record was ever kept elsewhere than in a slot."""
        return dump.bookkeeping(self._maps).spilled > 0

    def cookies(self) -> set[int]:
        """Return the sockets that have a slot."""
        return set[int]() if self._slots is None else {cookie for cookie in self._slots.column(0) if cookie}

    def slots(self) -> dict[int, Record]:
        """Return the record in each used slot."""
        table = self._slots
        if table is None:
            return {}
        return self._read(table, (index for index, cookie in enumerate(table.column(0)) if cookie))

    def counted(self) -> Counter[Record]:
        """Return how many sockets have the same record, among those that have a slot."""
        table = self._slots
        if table is None:
            return Counter()
        taken = (index for index, cookie in enumerate(table.column(0)) if cookie)
        raw = Counter(table.read(index)[PEER_OF_SLOT] for index in taken)
        found: Counter[Record] = Counter()
        for peer, count in raw.items():
            if record := unpack_peer(peer + bytes(layout.ROW_INDEX.size)):
                found[record] += count
        return found

    def asked_for(self, addresses: Iterable[bytes]) -> dict[int, Record]:
        """Return the records of sockets that asked for one of these addresses, or for one with the same second half."""
        table, ends = self._slots, {int.from_bytes(address[8:], sys.byteorder) for address in addresses}
        if table is None:
            return {}
        return self._read(table, (index for index, end in enumerate(table.column(END_OF_ASKED)) if end in ends))

    def newest(self, any_socket: socket.socket) -> Record | None:
        """Return the latest record of a socket, given its descriptor."""
        cookie, table = cookie_of(any_socket), self._slots
        if table is not None:
            found, raw = self._slot(table, cookie & (table.capacity - 1))
            if found == cookie:
                return unpack_peer(raw)
        return next(iter(self.of_socket(any_socket.fileno())), None)

    def has_slot(self, cookie: int) -> bool:
        """Return whether a socket still has its slot."""
        table = self._slots
        return table is not None and table.word(cookie & (table.capacity - 1), 0) == cookie

    def of_socket(self, descriptor: int) -> tuple[Record, ...]:
        """Return what the kernel keeps with a socket, given its descriptor."""
        value = ct.create_string_buffer(layout.MORE_PEERS.size)
        key = ct.c_int(descriptor)
        try:
            libbpf.call("read a socket's records", "bpf_map_lookup_elem", self.storage.fd, ct.byref(key), value)
        except libbpf.BpfError as error:
            if error.errno != errno.ENOENT:
                raise
            return ()
        return unpack_more(value.raw)

    def close(self) -> None:
        """Close the maps."""
        if self._slots is not None:
            self._slots.close()
        self.storage.close()

    def _read(self, table: RowTable, indices: Iterable[int]) -> dict[int, Record]:
        read = (self._slot(table, index) for index in indices)
        return {cookie: record for cookie, raw in read if cookie and (record := unpack_peer(raw))}

    @staticmethod
    def _slot(table: RowTable, index: int) -> tuple[int, bytes]:
        """Read a slot while no hook is writing it."""
        before = b""
        for _ in range(TRIES):
            now = table.read(index)
            if now == before:
                break
            before = now
        cookie, peer = layout.SOCKET_SLOT.unpack(before)
        return cookie, peer


def unpack_peer(raw: bytes) -> Record | None:
    """Read `struct peer`; None: it was forgotten, or is not written yet."""
    frontend, backend, frontend_port, backend_port, _ = layout.PEER.unpack(raw)
    return Record(Backend(frontend, frontend_port), Backend(backend, backend_port)) if backend_port else None


def unpack_more(raw: bytes) -> tuple[Record, ...]:
    """Read `struct more_peers`, the newest record first."""
    _, front, behind = layout.MORE_PEERS.unpack(raw)
    peers = (front, *(behind[at : at + layout.PEER.size] for at in range(0, len(behind), layout.PEER.size)))
    return tuple(record for peer in peers if (record := unpack_peer(peer)))
