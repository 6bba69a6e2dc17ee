"""The devices, addresses, routes and rules of this network namespace, as the kernel has them.

found = read()
with Changes() as changes:
    select.select([changes], [], [])        # somebody changed one of them
    changes.forget()                        # read() returns the result, whatever the changes were
"""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple, Self

from socklb.model import V4_PREFIX, is_ipv4
from socklb.netlink import ACK, DUMP, attribute, attributes, exchange

NETLINK_ROUTE = 0
GET_LINK, GET_ADDRESS, GET_ROUTE, GET_RULE = 18, 22, 26, 34
LINK, ADDRESS, ROUTE = struct.Struct("=BxHiII"), struct.Struct("=BBBBI"), struct.Struct("=BBBBBBBBI")
# IFLA_*, IFA_*, RTA_*
LINK_NAME, LINK_PEER, LINK_MASTER, LINK_INFO, LINK_PEER_NETWORK, LINK_KIND = 3, 5, 10, 18, 37, 1
ADDRESS_ANY, ADDRESS_LOCAL, ADDRESS_FLAGS = 1, 2, 8
ROUTE_TO, ROUTE_OUTPUT, ROUTE_GATEWAY, ROUTE_MULTIPATH, ROUTE_TABLE, ROUTE_VIA = 1, 4, 5, 9, 15, 18
RULE_HEADER, BY_PORT = 12, {22, 23, 24}  # struct fib_rule_hdr; FRA_IP_PROTO, FRA_SPORT_RANGE, FRA_DPORT_RANGE
HOP = struct.Struct("=HBBi")  # struct rtnexthop
ETHERNET, LOOPBACK = 1, 772  # ARPHRD_*
UNPACKED = frozenset((768, 769, 776))  # TUNNEL (ipip), TUNNEL6, SIT
IP_ALONE = UNPACKED | {519, 65534}  # RAWIP; NONE (WireGuard, tun)
WRAPPED = -1  # in place of UNPACKED's, where the kernel leaves skb->mac_header at the outer header
UNPACKS_SINCE = (5, 14)  # "net: reset MAC header consistently across L3 virtual devices", ipip and sit among them
UNIVERSE, LOCAL_TABLE = 0, 255
LOCAL = 2  # RTN_LOCAL
LINKS_OWN = b"\xfe\x80"  # fe80::/64
SECONDARY, TENTATIVE, DEPRECATED, FAILED = 0x01, 0x40, 0x20, 0x08  # IFA_F_*
# RTMGRP_*: links, and addresses, routes and rules of both families
GROUPS = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 0x40000


class Device(NamedTuple):
    """A network device.

    kind: veth, bridge, vxlan …; empty for a physical one. type: ARPHRD_*, or WRAPPED. peer: for a veth, the ifindex of
    the other end in its own network namespace. leads_away: that is another namespace.
    """

    ifindex: int
    name: str
    kind: str = ""
    type: int = ETHERNET
    master: int = 0
    peer: int = 0
    leads_away: bool = False


class Own(NamedTuple):
    """An address of a device (16 bytes) that packets may be sent from."""

    device: int
    address: bytes


class Hop(NamedTuple):
    """One next hop of a route: the device, whether there is a gateway, and the destination: everything (`default`), or
    the addresses that share `bits` bits with `to` (16 bytes).
    """

    device: int
    gateway: bool
    default: bool = False
    to: bytes = b""
    bits: int = 0
    ipv4: bool = True


class Found(NamedTuple):
    """Everything that was read."""

    devices: tuple[Device, ...]
    addresses: tuple[Own, ...]
    hops: tuple[Hop, ...]
    rules_by_port: bool = False  # whether the route of a packet depends on its protocol or ports


def read() -> Found:
    """Read everything: a node of 500 pods takes 20 ms.

    Raises:
        OSError: netlink refused.
    """
    return Found(tuple(_devices()), tuple(_addresses()), tuple(set(_hops())), any(_rules_by_port()))


class Way(NamedTuple):
    """The route to an address: to this machine itself, or by a device (0: there is no route)."""

    stays: bool
    device: int


def way_to(address: bytes) -> Way:
    """Return the route to an address of 16 bytes."""
    family, raw = (socket.AF_INET, address[12:]) if is_ipv4(address) else (socket.AF_INET6, address)
    asked = ROUTE.pack(family, 8 * len(raw), 0, 0, 0, 0, 0, 0, 0) + attribute(ROUTE_TO, raw)
    try:
        for _, data in exchange(NETLINK_ROUTE, GET_ROUTE, ACK, asked):
            found = attributes(data[ROUTE.size :])
            return Way(ROUTE.unpack_from(data)[7] == LOCAL, _number(found.get(ROUTE_OUTPUT)))
    except OSError:  # unreachable, prohibited, or no route
        pass
    return Way(False, 0)


def is_there(ifindex: int) -> bool:
    """Return whether this network namespace has a device with this ifindex."""
    try:
        socket.if_indextoname(ifindex)
    except OSError:
        return False
    return True


def name_of(ifindex: int) -> str:
    """Return a device's name, or its ifindex if it was removed."""
    try:
        return socket.if_indextoname(ifindex)
    except OSError:
        return str(ifindex)


class Changes:
    """Signals that something changed; see the module."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_ROUTE)
        self._socket.bind((0, GROUPS))

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._socket.fileno()

    def forget(self) -> None:
        """Discard the messages so far. A receive buffer that overflowed counts as a change, too."""
        while True:
            try:
                self._socket.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()


def _devices() -> Iterator[Device]:
    for _, data in exchange(NETLINK_ROUTE, GET_LINK, DUMP, bytes(LINK.size)):
        _, type_, index, *_ = LINK.unpack_from(data)
        found = attributes(data[LINK.size :])
        kind = attributes(found.get(LINK_INFO, b"")).get(LINK_KIND, b"")
        numbers = (_number(found.get(number)) for number in (LINK_MASTER, LINK_PEER))
        away = LINK_PEER_NETWORK in found
        type_ = WRAPPED if type_ in UNPACKED and not unpacks(os.uname().release) else type_
        yield Device(index, _text(found[LINK_NAME]), _text(kind), type_, *numbers, leads_away=away)


def unpacks(release: str) -> bool:
    """Return whether the packets of tunnels begin with the inner IP header at tc, in a kernel of this release."""
    major, minor = map(int, re.findall(r"\d+", release)[:2])
    return (major, minor) >= UNPACKS_SINCE


def _addresses() -> Iterator[Own]:
    for _, data in exchange(NETLINK_ROUTE, GET_ADDRESS, DUMP, bytes(ADDRESS.size)):
        _, _, flags, scope, device = ADDRESS.unpack_from(data)
        found = attributes(data[ADDRESS.size :])
        flags |= _number(found.get(ADDRESS_FLAGS))
        address = found.get(ADDRESS_LOCAL) or found.get(ADDRESS_ANY)
        if address and scope == UNIVERSE and not flags & (SECONDARY | TENTATIVE | DEPRECATED | FAILED):
            yield Own(device, _mapped(address))


def _hops() -> Iterator[Hop]:
    """Yield the next hops of all tables except the kernel's own, without link-local ones, which all devices have."""
    for _, data in exchange(NETLINK_ROUTE, GET_ROUTE, DUMP, bytes(ROUTE.size)):
        family, length, _, _, table, *_ = ROUTE.unpack_from(data)
        found = attributes(data[ROUTE.size :])
        raw = found.get(ROUTE_TO, b"")
        if (_number(found.get(ROUTE_TABLE)) or table) == LOCAL_TABLE or raw.startswith(LINKS_OWN):
            continue
        four = family == socket.AF_INET
        to = (length == 0, _mapped(raw), length + 96 * four, four)
        if ROUTE_OUTPUT in found:
            yield Hop(_number(found[ROUTE_OUTPUT]), _goes_on(found), *to)
        for device, gateway in _several(found.get(ROUTE_MULTIPATH, b"")):
            yield Hop(device, gateway, *to)


def _rules_by_port() -> Iterator[bool]:
    for _, data in exchange(NETLINK_ROUTE, GET_RULE, DUMP, bytes(RULE_HEADER)):
        yield not BY_PORT.isdisjoint(attributes(data[RULE_HEADER:]))


def _several(data: bytes) -> Iterator[tuple[int, bool]]:
    at = 0
    while at + HOP.size <= len(data):
        length, _, _, device = HOP.unpack_from(data, at)
        yield device, _goes_on(attributes(data[at + HOP.size : at + length]))
        at += (length + 3) & ~3


def _goes_on(found: dict[int, bytes]) -> bool:
    return ROUTE_GATEWAY in found or ROUTE_VIA in found


def _mapped(address: bytes) -> bytes:
    return V4_PREFIX + address if len(address) == 4 else address


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")


def _number(data: bytes | None) -> int:
    return int.from_bytes(data, sys.byteorder) if data else 0
