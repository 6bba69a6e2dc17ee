"""End TCP sockets whose backend was removed: the peer gets a reset, and the owner of the socket an error.

    ending = Ending(records, is_gone)
    ending.end(gone)                # {cookie: Record}: those that have a slot
    ending.count, ending.refused

The kernel closes those that it lists (SOCK_DESTROY): ECONNABORTED. If the network namespace may not be entered, and for
MPTCP, which the kernel does not close this way, the agent takes a second descriptor of the socket and disconnects it:
ECONNRESET, for MPTCP ENOTCONN.

The record decides: a socket that connected to the same address by itself is left alone.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection
from contextlib import closing, suppress

from socklb.libc import libc
from socklb.model import Backend
from socklb.sockets.descriptors import holders, search
from socklb.sockets.diag import IPPROTO_MPTCP, Diagnosis, Live
from socklb.sockets.listing import live_sockets, recorded
from socklb.sockets.networks import Network, networks
from socklb.sockets.records import Record, Records

STREAMS = (socket.IPPROTO_TCP, IPPROTO_MPTCP)
NOBODY = bytes(16)  # a `struct sockaddr` with AF_UNSPEC

IsGone = Callable[[Backend, Backend], bool]  # Service address, backend


class Ending:
    """See the module. `refused`: cookies of sockets that could not be ended. Use one per pass."""

    def __init__(self, records: Records, is_gone: IsGone) -> None:
        """Start with nothing done."""
        self._records, self._is_gone = records, is_gone
        self.count = 0
        self.refused: set[int] = set()

    def end(self, gone: dict[int, Record]) -> None:
        """End those of these sockets that are alive, and sockets whose record has no slot."""
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
                    continue  # closed meanwhile
                except OSError:
                    self.refused.add(live.cookie)
                else:
                    self.count += 1

    def _search(self, done: set[int]) -> None:
        """Search for sockets in network namespaces that are unknown or may not be entered, and for those that were
        refused.
        """
        for live, theirs in search((inode, who[0]) for inode, who in holders().items()):
            if live.protocol in STREAMS and live.connected and live.cookie not in done:
                self._disconnect(live, theirs)

    def _disconnect(self, live: Live, theirs: socket.socket) -> None:
        record = self._records.newest(theirs)
        if record is None or not self._is_gone(*record):
            return
        if libc.connect(theirs.fileno(), NOBODY, len(NOBODY)):
            self.refused.add(live.cookie)
            return
        self.refused.discard(live.cookie)
        self.count += 1
