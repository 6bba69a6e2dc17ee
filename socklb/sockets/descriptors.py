"""Which process has which socket open, and a descriptor of our own for it: pidfd_getfd(2), Linux 5.6.

    holders()                                  # {inode: [Holder]}, from /proc
    with taken(holder) as theirs: …            # a second descriptor of the same socket
    theirs.cookie                              # its identity

This needs CAP_SYS_PTRACE, and only processes in our own pid namespace and below are visible.
"""

from __future__ import annotations

import contextlib
import ctypes as ct
import errno
import fcntl
import os
import socket
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from socklb.datapath.own_network import cookie_of
from socklb.libc import libc
from socklb.model import V4_PREFIX, Backend, pack_address
from socklb.sockets.diag import IPPROTO_MPTCP, Live

SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 434, 438  # the same on every architecture
SIOCGSKNS = 0x894C  # a descriptor of a socket's network namespace
PROTOCOLS = {socket.IPPROTO_TCP, socket.IPPROTO_UDP, IPPROTO_MPTCP}
FAMILIES = {socket.AF_INET, socket.AF_INET6}
SOCKET = "socket:["
ENDED = {errno.ESRCH, errno.EBADF, errno.ENOENT, errno.ENOTSOCK}  # the process did, or closed it


class Holder(NamedTuple):
    """A process that has a socket open, and the number of the descriptor."""

    pid: int
    number: int


def holders(denied: list[str] | None = None) -> dict[int, list[Holder]]:
    """Return the processes that have each socket open, by the socket's inode. `denied` gets those that may not be
    asked.
    """
    found: defaultdict[int, list[Holder]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                _add(int(entry.name), found)
            except OSError as error:  # it ended, or access is denied
                if denied is not None and error.errno not in ENDED:
                    denied.append(f"process {entry.name}: {error.strerror}")
    return found


def _add(pid: int, found: defaultdict[int, list[Holder]]) -> None:
    with os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            try:
                target = os.readlink(entry.path)  # noqa: PTH115 - a Path each is half of the cost
            except OSError:
                continue
            if target.startswith(SOCKET):
                found[int(target[len(SOCKET) : -1])].append(Holder(pid, int(entry.name)))


def command(pid: int) -> str:
    """Return the name of a process; empty if it ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
    except OSError:
        return ""


class Pidfds:
    """Descriptors of processes, each opened once."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}

    def close(self) -> None:
        """Close them."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def take(self, holder: Holder) -> int:
        """Return a descriptor of our own for the holder's socket.

        Raises:
            OSError: the process ended or closed it, or access is denied.
        """
        if holder.pid not in self._open:
            self._open[holder.pid] = _call(SYS_PIDFD_OPEN, holder.pid, 0)
        return _call(SYS_PIDFD_GETFD, self._open[holder.pid], holder.number, 0)

    @contextmanager
    def taken(self, holder: Holder) -> Generator[socket.socket]:
        """Yield the holder's socket.

        Raises:
            OSError: the process ended or closed it, or access is denied. ENOTSOCK: the number is another file's by now;
                whoever waits for the end of that, as of a pipe, waits for us too, so it is closed at once.
        """
        number = self.take(holder)
        try:
            theirs = socket.socket(fileno=number)
        except BaseException:
            os.close(number)
            raise
        with theirs:
            yield theirs


def _call(number: int, *arguments: int) -> int:
    result = libc.syscall(ct.c_long(number), *map(ct.c_long, arguments))
    if result < 0:
        raise OSError(ct.get_errno(), os.strerror(ct.get_errno()))
    return int(result)


def search(candidates: Iterable[tuple[int, Holder]]) -> Iterator[tuple[Live, socket.socket]]:
    """Yield each socket with its description: sockets without a port are not in the kernel's list. The socket is then
    closed.
    """
    pidfds = Pidfds()
    try:
        for inode, holder in candidates:
            with contextlib.suppress(OSError), pidfds.taken(holder) as theirs:
                if theirs.family in FAMILIES and theirs.proto in PROTOCOLS:
                    yield _live(inode, theirs), theirs
    finally:
        pidfds.close()


def cookies(candidates: Iterable[Iterable[Holder]], denied: list[str]) -> Iterator[int]:
    """Yield the cookie of each socket, given its holders. `denied` gets a holder of each that may not be had."""
    pidfds = Pidfds()
    try:
        for who in candidates:
            for holder in who:
                try:
                    with pidfds.taken(holder) as theirs:
                        yield cookie_of(theirs)
                        break
                except OSError as error:
                    if error.errno not in ENDED:
                        denied.append(f"descriptor {holder.number} of process {holder.pid}: {error.strerror}")
                        break
    finally:
        pidfds.close()


def _live(inode: int, theirs: socket.socket) -> Live:
    none = Backend(V4_PREFIX + bytes(4) if theirs.family == socket.AF_INET else bytes(16), 0)
    host, port = theirs.getsockname()[:2]
    local = Backend(pack_address(host.partition("%")[0]), port)
    connected, network = _is_connected(theirs), _network_of(theirs)
    return Live(cookie_of(theirs), theirs.proto, theirs.family, connected, local, none, inode, network)


def _is_connected(theirs: socket.socket) -> bool:
    try:
        theirs.getpeername()
    except OSError:
        return False
    return True


def _network_of(theirs: socket.socket) -> int:
    """Return the inode of a socket's network namespace; 0 if access is denied."""
    try:
        descriptor = fcntl.ioctl(theirs, SIOCGSKNS)
    except OSError:
        return 0
    try:
        return os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)
