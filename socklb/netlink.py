"""Netlink: one request and the kernel's answers, in the network namespace of the thread.

    for kind, data in exchange(NETLINK_ROUTE, GET_LINK, DUMP, bytes(16)): ...
    for kind, data in ask(NETLINK_NETFILTER, message(…) + message(…)): ...      # several at once

`data` begins with the header of its kind; `attributes(data[size:])` returns the rest. No program and no library is
needed: pyroute2 0.9.7 takes 220 ms for the same at its first use, and 14 MB of memory, half of an agent's.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

REQUEST, ACK, DUMP = 1, 4, 0x300
ERROR, DONE = 2, 3
NESTED = 0x8000
HEADER, ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=HH")


def exchange(family: int, kind: int, flags: int, body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and data of each answer.

    Raises:
        OSError: the kernel refused.
    """
    return ask(family, message(kind, flags, body))


def message(kind: int, flags: int, body: bytes) -> bytes:
    """Return one request in the format of netlink."""
    return HEADER.pack(HEADER.size + len(body), kind, REQUEST | flags, 1, 0) + body


def ask(family: int, requests: bytes) -> Iterator[tuple[int, bytes]]:
    """Send requests of which one is answered; yield kind and data of each answer.

    Raises:
        OSError: the kernel refused.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family) as netlink:
        netlink.bind((0, 0))
        netlink.send(requests)
        while True:
            for kind_received, data in _messages(netlink.recv(1 << 18)):
                if kind_received == DONE:
                    return
                if kind_received == ERROR:
                    (code,) = struct.unpack_from("=i", data)
                    if code:
                        raise OSError(-code, os.strerror(-code))
                    return
                yield kind_received, data


def attribute(kind: int, data: bytes) -> bytes:
    """Return one attribute in the format of netlink; `kind` includes NESTED if it contains others."""
    length = ATTRIBUTE.size + len(data)
    return ATTRIBUTE.pack(length, kind) + data + bytes(-length % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    """Return attributes by kind; the last one if there are several of a kind."""
    return dict(listed(data))


def listed(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and data of each attribute in order."""
    at, size = 0, len(data)
    while at + 4 <= size:
        length, kind = ATTRIBUTE.unpack_from(data, at)
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += (length + 3) & ~3


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        length, kind, *_ = HEADER.unpack_from(data, at)
        yield kind, data[at + HEADER.size : at + length]
        at += (length + 3) & ~3
