"""Netlink to netfilter.

for kind, attributes in exchange(GET, DUMP, socket.AF_INET): ...
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from socklb import netlink

NETLINK_NETFILTER = 12
FAMILY = struct.Struct("=BBH")


def exchange(kind: int, flags: int, family: int, payload: bytes = b"") -> Iterator[tuple[int, bytes]]:
    """Give kind and attributes of each answer; the kind is the subsystem's number << 8 | the message's.

    Raises:
        OSError: the kernel refused.
    """
    body = FAMILY.pack(family, 0, 0) + payload
    for received, data in netlink.exchange(NETLINK_NETFILTER, kind, flags, body):
        yield received, data[FAMILY.size :]
