"""The contents of nf_tables and of connection tracking in the network namespace of the thread, over netlink.

    tables()                                # {("ip", "nat"), ...}
    delete_table("inet", "socklb")
    is_translating()                        # whether a connection has a translated destination

No library is needed: libnftables reads the whole rule set to list its tables.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from socklb import netlink
from socklb.netlink import ACK, DUMP, attribute, attributes

NETLINK_NETFILTER = 12
HEADER = struct.Struct("=BB")  # struct nfgenmsg: family, version; the subsystem follows, in network order
FAMILIES = {"inet": 1, "ip": 2, "ip6": 10}  # NFPROTO_*
NAMES = {number: name for name, number in FAMILIES.items()}
NFTABLES, CONNTRACK = 10, 1  # NFNL_SUBSYS_*
GET_TABLE, DELETE_TABLE, GET_CHAIN = NFTABLES << 8 | 1, NFTABLES << 8 | 2, NFTABLES << 8 | 4
GET_CONNECTION = CONNTRACK << 8 | 1
BEGIN, END = 16, 17  # NFNL_MSG_BATCH_*
TABLE_NAME = 1  # NFTA_TABLE_NAME
CHAIN_TABLE, CHAIN_NAME = 1, 3  # NFTA_CHAIN_*
STATUS, STATUS_MASK = 3, 26  # CTA_STATUS, CTA_STATUS_MASK: the kernel filters by them since 5.15
TRANSLATED = 1 << 5  # IPS_DST_NAT


def tables() -> set[tuple[str, str]]:
    """Return family and name of every IP table; none on a kernel without nf_tables.

    Raises:
        OSError: netlink refused.
    """
    return {(family, _text(found[TABLE_NAME])) for family, found in _dumped(GET_TABLE)}


def chains() -> set[tuple[str, str, str]]:
    """Return family, table and name of every IP chain.

    Raises:
        OSError: netlink refused.
    """
    dumped = _dumped(GET_CHAIN)
    return {(family, _text(found[CHAIN_TABLE]), _text(found[CHAIN_NAME])) for family, found in dumped}


def delete_table(family: str, name: str) -> None:
    """Delete a table with all that is in it.

    Raises:
        OSError: netlink refused; FileNotFoundError: there is no such table.
    """
    ours = _header(NFTABLES)
    named = _header(0, FAMILIES[family]) + attribute(TABLE_NAME, name.encode() + b"\0")
    parts = [(BEGIN, 0, ours), (DELETE_TABLE, ACK, named), (END, 0, ours)]
    list(netlink.ask(NETLINK_NETFILTER, b"".join(netlink.message(*part) for part in parts)))


def is_translating() -> bool:
    """Return whether there is a connection whose destination was translated.

    Raises:
        OSError: netlink refused.
    """
    asked = b"".join(attribute(kind, TRANSLATED.to_bytes(4, "big")) for kind in (STATUS, STATUS_MASK))
    return any(
        int.from_bytes(attributes(data[4:]).get(STATUS, b""), "big") & TRANSLATED
        for family in (socket.AF_INET, socket.AF_INET6)
        for _, data in netlink.exchange(NETLINK_NETFILTER, GET_CONNECTION, DUMP, _header(0, family) + asked)
    )


def _dumped(kind: int) -> Iterator[tuple[str, dict[int, bytes]]]:
    try:
        for _, data in netlink.exchange(NETLINK_NETFILTER, kind, DUMP, _header(0)):
            if data[0] in NAMES:
                yield NAMES[data[0]], attributes(data[4:])
    except OSError as error:
        if error.errno != 22:  # EINVAL: no such subsystem
            raise


def _header(subsystem: int, family: int = socket.AF_UNSPEC) -> bytes:
    return HEADER.pack(family, 0) + subsystem.to_bytes(2, "big")


def _text(name: bytes) -> str:
    return name.rstrip(b"\0").decode()
