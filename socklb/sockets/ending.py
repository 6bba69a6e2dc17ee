"""TCP sockets whose backend is gone are ended: the other end gets a reset, and who has the socket is told an error.

    ending = Ending(records, is_gone)
    ending.end(gone)                # {cookie: Record}: those that have a slot
    ending.count, ending.refused

The kernel closes those that it lists (SOCK_DESTROY): ECONNABORTED. Where we may not enter a network namespace, and for
MPTCP, which the kernel does not close so, we take a second descriptor of the socket and disconnect it: ECONNRESET, with
MPTCP ENOTCONN.
The record decides: whoever connected to the same address by himself is left alone.
"""

from __future__ import annotations

import ctypes as ct
import socket
from collections.abc import Callable, Collection
from contextlib import closing, suppress

from socklb.model import Backend
from socklb.sockets.descriptors import holders, search
from socklb.sockets.diag import IPPROTO_MPTCP, Diagnosis, Live
from socklb.sockets.listing import live_sockets, recorded
from socklb.sockets.networks import Network, networks
from socklb.sockets.records import Record, Records

STREAMS = (socket.IPPROTO_TCP, IPPROTO_MPTCP)
NOBODY = bytes(16)  # a `struct sockaddr` with AF_UNSPEC

IsGone = Callable[[Backend, Backend], bool]  # who was asked for, who was given

_libc = ct.CDLL(None, use_errno=True)


class Ending:
    """See the module. `refused`: cookies of sockets that could not be ended. It is for one pass."""

    def __init__(self, records: Records, is_gone: IsGone) -> None:
        """Begin with nothing done."""
        self._records, self._is_gone = records, is_gone
        self.count = 0
        self.refused: set[int] = set()

    def end(self, gone: dict[int, Record]) -> None:
        """End those of these sockets that live, and those whose record has no slot."""
        spilled, seen = self._records.spilled, set[int]()
        for place in networks():
            listed = live_sockets(self._records, [place], STREAMS if spilled else STREAMS[:1])
            seen |= listed.keys()
            stale = [
                live
                for cookie, (live, (record, *_)) in recorded(listed, gone)
                if live.peer == record.given
                and self._is_gone(*record)
                and self._records.has_slot(cookie) == (cookie in gone)
            ]
            self.refused |= {live.cookie for live in stale if live.protocol == IPPROTO_MPTCP}
            self._destroy(place, [live for live in stale if live.protocol == socket.IPPROTO_TCP])
        if self.refused or gone.keys() - seen or spilled:
            self._search(seen - self.refused)

    def _destroy(self, place: Network, stale: Collection[Live]) -> None:
        if not stale:
            return
        with suppress(OSError), closing(Diagnosis(place)) as asking:
            for live in stale:
                try:
                    asking.destroy(live)
                except FileNotFoundError:
                    continue  # it is closed
                except OSError:
                    self.refused.add(live.cookie)
                else:
                    self.count += 1

    def _search(self, done: set[int]) -> None:
        """Look for what is in network namespaces that we may not enter, or do not know, and for what was refused."""
        for live, theirs in search((inode, who[0]) for inode, who in holders().items()):
            if live.protocol in STREAMS and live.connected and live.cookie not in done:
                self._disconnect(live, theirs)

    def _disconnect(self, live: Live, theirs: socket.socket) -> None:
        record = self._records.newest(theirs)
        if record is None or not self._is_gone(*record):
            return
        if _libc.connect(theirs.fileno(), NOBODY, len(NOBODY)):
            self.refused.add(live.cookie)
            return
        self.refused.discard(live.cookie)
        self.count += 1
