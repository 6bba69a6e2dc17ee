"""Reconnect connected UDP sockets whose backend was removed, in place: their application notices nothing.

    with closing(Mover(records, is_stale, done, at_work)) as mover:
        mover.move(stale)       # {cookie: Record}: sockets that have a backend which serves no more
    done                        # how many were CONNECTED, DESTROYED, LEFT

The agent takes a second descriptor of the socket and connects it to its Service address again; the hooks of the
socket's own cgroup choose a backend. Its port stays, a waiting recv() gets the next answer, and getpeername() returns
the Service address as before. If the agent cannot get a descriptor, the kernel closes the socket (SOCK_DESTROY): the
application gets ECONNABORTED.

A socket's hooks are those of the cgroup in which it was made, and disappear with it: if that was removed, the kernel
closes the socket, too.

The record decides, not the address: a socket that connected to the same address by itself is left alone. If an
application connects the socket elsewhere in the microseconds between the last check and the agent's connect(), its
connect is overridden.
"""

from __future__ import annotations

import errno
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing

from socklb.datapath.own_network import cookie_of
from socklb.errors import SocklbError
from socklb.model import Backend, address_text, is_ipv4
from socklb.sockets.descriptors import Holder, Pidfds, holders, search
from socklb.sockets.diag import Diagnosis, Live
from socklb.sockets.listing import live_sockets
from socklb.sockets.networks import networks
from socklb.sockets.records import Record, Records

CONNECTED, DESTROYED, LEFT = WAYS = "connected", "destroyed", "left"
GONE = {errno.ESRCH, errno.EBADF, errno.ENOENT}  # the process ended, or closed it
UDP, TCP = (socket.IPPROTO_UDP,), (socket.IPPROTO_TCP,)


class NotTranslatedError(SocklbError):
    """The hooks did not translate the agent's connect: nothing is moved until they do."""

    def __init__(self) -> None:
        super().__init__("a connect of ours was not translated", hint="socklb status")


class BeyondHooksError(OSError):
    """The hooks are at work but do not see this socket: its own cgroup was removed, or was never below the node's."""


class Mover:
    """See the module. It reads once where the sockets are, so use one per pass."""

    def __init__(
        self, records: Records, is_stale: Callable[[Record], bool], done: Counter[str], at_work: Callable[[], bool]
    ) -> None:
        """Read the network namespaces.

        is_stale: returns whether a record's backend serves no more at this moment, and others do. at_work: returns
        whether the kernel runs our hooks at this moment.
        """
        self._records, self._is_stale, self._done, self._at_work = records, is_stale, done, at_work
        self._pidfds = Pidfds()
        self._places = networks()

    def close(self) -> None:
        """Close the descriptors of processes."""
        self._pidfds.close()

    def move(self, stale: Mapping[int, Record]) -> None:
        """Reconnect those of these sockets that are connected UDP sockets, and sockets whose record has no slot.

        Raises:
            NotTranslatedError: the hooks are not at work.
        """
        listed, spilled = live_sockets(self._records, self._places, UDP), self._records.spilled
        open_now = holders()
        for cookie, live in listed.items():
            record = stale.get(cookie)
            unknown = spilled and not self._records.has_slot(cookie)
            if live.connected and (unknown or (record and live.peer == record.given)):
                self._move(live, open_now.get(live.inode, []), known=record is not None)
        if stale.keys() - listed.keys() - live_sockets(self._records, self._places, TCP).keys():
            self._search(stale, {live.inode for live in listed.values()}, open_now)

    def _move(self, live: Live, who: Iterable[Holder], *, known: bool) -> None:
        for holder in who:
            try:
                with self._pidfds.taken(holder) as theirs:
                    if cookie_of(theirs) == live.cookie:
                        self._note(self._connected(theirs, live.peer))
                        return
            except OSError as error:
                if error.errno not in GONE:
                    break
        if known:  # from its slot: otherwise its backend is unknown
            self._note(self._destroyed(live))

    def _search(self, stale: Mapping[int, Record], known: set[int], open_now: dict[int, list[Holder]]) -> None:
        """Search for sockets in network namespaces that are unknown or may not be entered."""
        for live, theirs in search((inode, who[0]) for inode, who in open_now.items() if inode not in known):
            if live.cookie in stale and live.connected and live.protocol in UDP:
                try:
                    self._note(self._connected(theirs))
                except OSError:
                    self._note(LEFT)

    def _connected(self, theirs: socket.socket, peer: Backend | None = None) -> str:
        """Connect a socket to its Service address; return what was done, empty if its backend is right.

        Raises:
            OSError: there is no route from its address to the new backend, or the hooks do not see it.
            NotTranslatedError: the hooks see no socket.
        """
        record = self._records.newest(theirs)
        if record is None or not self._is_stale(record) or peer not in (None, record.given):
            return ""
        try:
            return CONNECTED if self._led_anew(theirs, record) else self._unchanged(theirs, record)
        except ConnectionRefusedError:
            return LEFT  # no backend is left

    def _unchanged(self, theirs: socket.socket, record: Record) -> str:
        """Handle a record that is the same after a connect: its backend was chosen again, or no hook ran."""
        at_work = self._at_work()
        if at_work and not self._is_stale(record):  # it serves again
            return ""
        if at_work and self._led_anew(theirs, record):  # the hooks had just been repaired
            return CONNECTED
        theirs.connect(_to(record.given, theirs.family))
        raise BeyondHooksError if at_work else NotTranslatedError

    def _led_anew(self, theirs: socket.socket, record: Record) -> bool:
        """Connect a socket to its Service address; return whether it has another record now."""
        try:
            theirs.connect(_to(record.asked, theirs.family))
        except ConnectionRefusedError:
            raise
        except OSError:
            if self._records.newest(theirs) != record:
                raise
        return self._records.newest(theirs) != record

    def _destroyed(self, live: Live) -> str:
        for place in self._places:
            if place.number == live.network:
                try:
                    with closing(Diagnosis(place)) as asking:
                        asking.destroy(live)
                except OSError as error:
                    return "" if error.errno in GONE else LEFT
                return DESTROYED
        return LEFT

    def _note(self, way: str) -> None:
        if way:
            self._done[way] += 1


def _to(where: Backend, family: int) -> tuple[str, int]:
    host = address_text(where.address)
    return (f"::ffff:{host}" if family == socket.AF_INET6 and is_ipv4(where.address) else host, where.port)
