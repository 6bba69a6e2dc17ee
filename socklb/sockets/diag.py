"""Live sockets of one network namespace, as the kernel lists them: sock_diag(7), by netlink.

    with closing(Diagnosis(network)) as asking:
        for live in asking.sockets(socket.IPPROTO_UDP, storage=records.storage.fd): …
        asking.destroy(live)

Only sockets with a port are listed: not one that was disconnected, or never reached its peer, nor one that moves
between two of the kernel's hash buckets during the listing. The records that the kernel keeps with UDP sockets are left
out (6.18).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from socklb.model import V4_PREFIX, Backend
from socklb.sockets.networks import Network
from socklb.sockets.records import Record, unpack_more

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY, SOCK_DESTROY = 20, 21
ERROR, DONE = 2, 3  # NLMSG_*
REQUEST, ACK, DUMP = 0x1, 0x4, 0x300  # NLM_F_*
HEADER = struct.Struct("=IHHII")  # nlmsghdr
ASK = struct.Struct("=BBBBI48s")  # inet_diag_req_v2
ATTRIBUTE = struct.Struct("=HH")
# inet_diag_msg up to the cookie: family, state, (timer, retransmits), ports, addresses; then after it the inode.
LIVE = struct.Struct("=BB2x2s2s16s16s4xQ16xI")
ID = slice(4, 52)  # inet_diag_sockid within it
ASK_STORAGES, ASK_PROTOCOL = 2, 3  # INET_DIAG_REQ_*: Linux 5.6 and 5.9
STORAGES, CGROUP = 20, 21  # INET_DIAG_SK_BPF_STORAGES, INET_DIAG_CGROUP_ID: Linux 5.6 and 5.9
STORAGE_VALUE = 3  # SK_DIAG_BPF_STORAGE_MAP_VALUE
NESTED = 0x3FFF  # mask of an attribute's type without its flags
ESTABLISHED, CLOSED, LISTEN = 1, 7, 10
STATES = 0xFFF & ~(1 << 6 | 1 << LISTEN)  # in TIME_WAIT there is no socket any more; a listener has no peer
IPPROTO_MPTCP = 262
NOT_THERE = {errno.ENOENT, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT}


class Live(NamedTuple):
    """A live socket. `id` identifies it to the kernel; `cgroup` is the id of its own cgroup, 0: not known."""

    cookie: int
    protocol: int
    family: int
    connected: bool
    local: Backend
    peer: Backend
    inode: int
    network: int
    id: bytes = b""
    cgroup: int = 0
    records: tuple[Record, ...] = ()


class Diagnosis:
    """See the module."""

    def __init__(self, network: Network) -> None:
        """Open a netlink socket in that network namespace.

        Raises:
            OSError: the network namespace was removed, or may not be entered.
        """
        self._network = network
        with network.entered():
            self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG)

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    def sockets(self, protocol: int, *, storage: int | None = None) -> Iterator[Live]:
        """Yield the sockets of a protocol in both families, with what the kernel keeps with them in a map."""
        wanted = b""
        if protocol > 0xFF:
            wanted += _attribute(ASK_PROTOCOL, struct.pack("=I", protocol))
        if storage is not None:
            wanted += _attribute(ASK_STORAGES, _attribute(1, struct.pack("=I", storage)))
        for family in (socket.AF_INET, socket.AF_INET6):
            head = ASK.pack(family, protocol & 0xFF, 0, 0, STATES, bytes(48))
            self._send(SOCK_DIAG_BY_FAMILY, REQUEST | DUMP, head + wanted)
            for message in self._answers():
                yield _live(message, protocol, self._network.number)

    def destroy(self, live: Live) -> None:
        """Close a socket in the kernel: whoever waits on it gets ECONNABORTED. Its cookie must be the same.

        Raises:
            OSError: it is closed (ENOENT), or the kernel cannot (EOPNOTSUPP: CONFIG_INET_DIAG_DESTROY).
        """
        self._send(SOCK_DESTROY, REQUEST | ACK, ASK.pack(live.family, live.protocol, 0, 0, 0xFFF, live.id))
        message = self._netlink.recv(1 << 12)
        (error,) = struct.unpack_from("=i", message, HEADER.size)
        if error:
            raise OSError(-error, os.strerror(-error), "SOCK_DESTROY")

    def _send(self, kind: int, flags: int, payload: bytes) -> None:
        self._netlink.send(HEADER.pack(HEADER.size + len(payload), kind, flags, 1, 0) + payload)

    def _answers(self) -> Iterator[bytes]:
        while True:
            data, at = self._netlink.recv(1 << 18), 0
            while at < len(data):
                length, kind, _, _, _ = HEADER.unpack_from(data, at)
                if kind == DONE:
                    return
                message = data[at + HEADER.size : at + length]
                if kind == ERROR:
                    (error,) = struct.unpack_from("=i", message)
                    if -error in NOT_THERE:
                        return
                    raise OSError(-error, os.strerror(-error), "sock_diag")
                yield message
                at += length + 3 & ~3


def _live(message: bytes, protocol: int, network: int) -> Live:
    family, state, local_port, peer_port, local, peer, cookie, inode = LIVE.unpack_from(message)
    cgroup, records = 0, ()
    for kind, value in _attributes(message, LIVE.size):
        if kind == CGROUP:
            cgroup = int.from_bytes(value, "little" if struct.pack("=H", 1)[0] else "big")
        elif kind == STORAGES:
            records = _records(value)
    return Live(
        cookie,
        protocol,
        family,
        state == ESTABLISHED if protocol == socket.IPPROTO_UDP else state not in (CLOSED, LISTEN),
        _endpoint(family, local, local_port),
        _endpoint(family, peer, peer_port),
        inode,
        network,
        message[ID],
        cgroup,
        records,
    )


def _endpoint(family: int, address: bytes, port: bytes) -> Backend:
    mapped = V4_PREFIX + address[:4] if family == socket.AF_INET else address
    return Backend(mapped, int.from_bytes(port, "big"))


def _records(storages: bytes) -> tuple[Record, ...]:
    for _, storage in _attributes(storages):
        for kind, value in _attributes(storage):
            if kind == STORAGE_VALUE:
                return unpack_more(value)
    return ()


def _attribute(kind: int, value: bytes) -> bytes:
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def _attributes(data: bytes, at: int = 0) -> Iterator[tuple[int, bytes]]:
    while at + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, at)
        yield kind & NESTED, data[at + ATTRIBUTE.size : at + length]
        at += max(length, ATTRIBUTE.size) + 3 & ~3
