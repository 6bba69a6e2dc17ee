"""Just enough of io_uring, without liburing: one operation at a time.

with Ring() as ring:
    ring.connect(client.fileno(), address)
"""

from __future__ import annotations

import ctypes as ct
import errno
import mmap
import os
import socket
import struct
from typing import Self

SETUP, ENTER, GETEVENTS = 425, 426, 1  # system calls, the same on every architecture; a flag
SENDMSG, RECVMSG, CONNECT = 9, 10, 16
SQES = 0x10000000
PARAMS, SQ_OFF, CQ_OFF = 120, 40, 80


class MsgHdr(ct.Structure):
    _fields_ = (
        ("name", ct.c_void_p),
        ("namelen", ct.c_uint32),
        ("iov", ct.c_void_p),
        ("iovlen", ct.c_size_t),
        ("control", ct.c_void_p),
        ("controllen", ct.c_size_t),
        ("flags", ct.c_int),
    )


class Message:
    """A `struct msghdr` with a buffer and an address, kept alive."""

    def __init__(self, data: bytes, name: bytes) -> None:
        self.data, self.name = ct.create_string_buffer(data, max(len(data), 100)), ct.create_string_buffer(name, 28)
        self.iov = (ct.c_uint64 * 2)(ct.addressof(self.data), len(data) or 100)
        self.header = MsgHdr(ct.addressof(self.name), len(name) or 28, ct.addressof(self.iov), 1)


def sockaddr(address: str, port: int) -> bytes:
    """Return a `struct sockaddr_in`."""
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(address) + bytes(8)


def place(name: bytes) -> tuple[str, int]:
    """Read a `struct sockaddr_in`."""
    return socket.inet_ntoa(name[4:8]), int.from_bytes(name[2:4], "big")


class Ring:
    """See the module."""

    def __init__(self) -> None:
        self._call = ct.CDLL(None, use_errno=True).syscall
        params = ct.create_string_buffer(PARAMS)
        self._fd = self._checked(self._call(SETUP, 4, params))
        self._sq, self._cq = (struct.unpack_from("=7I", params, at) for at in (SQ_OFF, CQ_OFF))
        self._ring = mmap.mmap(self._fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        self._sqes = mmap.mmap(self._fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=SQES)

    def connect(self, fd: int, address: bytes) -> int:
        """Connect; raises OSError as the call does."""
        name = ct.create_string_buffer(address, len(address))
        return self._do(CONNECT, fd, len(address), ct.addressof(name), 0)

    def send(self, fd: int, message: Message) -> int:
        """sendmsg()."""
        return self._do(SENDMSG, fd, 0, ct.addressof(message.header), 1)

    def receive(self, fd: int, message: Message) -> int:
        """recvmsg()."""
        return self._do(RECVMSG, fd, 0, ct.addressof(message.header), 1)

    def _do(self, operation: int, fd: int, offset: int, address: int, length: int) -> int:
        _, tail_at, mask_at, _, _, _, array_at = self._sq
        (tail,), (mask,) = (struct.unpack_from("=I", self._ring, at) for at in (tail_at, mask_at))
        index = tail & mask
        struct.pack_into("=BBHiQQI", self._sqes, index * 64, operation, 0, 0, fd, offset, address, length)
        struct.pack_into("=I", self._ring, array_at + 4 * index, index)
        struct.pack_into("=I", self._ring, tail_at, tail + 1)
        self._checked(self._call(ENTER, self._fd, 1, 1, GETEVENTS, None, 0))
        head_at, _, mask_at, _, _, cqes_at, _ = self._cq
        (head,), (mask,) = (struct.unpack_from("=I", self._ring, at) for at in (head_at, mask_at))
        _, result = struct.unpack_from("=Qi", self._ring, cqes_at + 16 * (head & mask))
        struct.pack_into("=I", self._ring, head_at, head + 1)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return int(result)

    def _checked(self, result: int) -> int:
        if result < 0:
            raise OSError(ct.get_errno(), "io_uring")
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ring.close()
        self._sqes.close()
        os.close(self._fd)


def is_enabled() -> bool:
    """Return whether this kernel lets us have a ring."""
    try:
        with Ring():
            return True
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
        return False
