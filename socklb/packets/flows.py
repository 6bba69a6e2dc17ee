"""Connection-tracking entries of UDP, over netlink: list them, delete one.

    for flow in to([frontend, ...]): delete(flow)

What it does not give: entries of other protocols, and other zones than the first. The kernel picks the entries out
(CTA_FILTER, 5.8): each that comes to Python costs 12 us, and a node may have a million.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection, Iterator
from typing import NamedTuple

from socklb.netlink import ACK, DUMP, NESTED, attribute, attributes
from socklb.packets.netlink import exchange
from socklb.serving import V4_PREFIX, Backend, Frontend, is_ipv4

NEW, GET, DELETE = 0x100, 0x101, 0x102  # NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_*
ORIGINAL, REPLY, FILTER = 1, 2, 25  # CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_FILTER
ADDRESSES, PORTS = 1, 2  # CTA_TUPLE_IP, CTA_TUPLE_PROTO
NUMBER, DESTINATION_PORT = 1, 3  # CTA_PROTO_*
DESTINATION = 2  # CTA_IP_V4_DST
ORIGINAL_FLAGS, REPLY_FLAGS = 1, 2  # CTA_FILTER_*: which parts of the tuples count
BY_DESTINATION, BY_NUMBER, BY_PORT = 1 << 1, 1 << 3, 1 << 5
SINGLY = 16  # frontends that are asked for one by one: each time the kernel walks its whole table, 50 ns an entry


class Flow(NamedTuple):
    """An entry: what was asked for, and who answers; `original` is how the kernel names it."""

    asked: Frontend
    answers: Backend
    family: int
    original: bytes


def to(frontends: Collection[Frontend]) -> Iterator[Flow]:
    """Give the UDP entries of this network namespace that asked for one of these.

    Raises:
        OSError: netlink refused.
    """
    if len(frontends) <= SINGLY:
        for frontend in frontends:
            family = socket.AF_INET if is_ipv4(frontend.address) else socket.AF_INET6
            yield from (flow for flow in _listed(family, frontend) if flow.asked == frontend)
        return
    for family in (socket.AF_INET, socket.AF_INET6):
        yield from (flow for flow in _listed(family) if flow.asked in frontends)


def delete(flow: Flow) -> None:
    """Delete an entry; one that is gone already is no error.

    Raises:
        OSError: netlink refused.
    """
    try:
        list(exchange(DELETE, ACK, flow.family, attribute(ORIGINAL | NESTED, flow.original)))
    except FileNotFoundError:
        return


def _listed(family: int, asked: Frontend | None = None) -> Iterator[Flow]:
    for kind, payload in exchange(GET, DUMP, family, _filter(family, asked)):
        if kind == NEW and (flow := _flow(family, payload)):
            yield flow


def _filter(family: int, asked: Frontend | None) -> bytes:
    """UDP alone, or the port of a frontend and, over IPv4, its address: of IPv6 Linux 6.18 gives all but that one."""
    ports, addresses, flags = attribute(NUMBER, bytes([socket.IPPROTO_UDP])), b"", BY_NUMBER
    if asked:
        flags |= BY_PORT
        ports += attribute(DESTINATION_PORT, asked.port.to_bytes(2, "big"))
    if asked and family == socket.AF_INET:
        flags |= BY_DESTINATION
        addresses = attribute(ADDRESSES | NESTED, attribute(DESTINATION, asked.address[12:]))
    original = attribute(ORIGINAL | NESTED, addresses + attribute(PORTS | NESTED, ports))
    parts = attribute(ORIGINAL_FLAGS, struct.pack("=I", flags)) + attribute(REPLY_FLAGS, struct.pack("=I", 0))
    return original + attribute(FILTER | NESTED, parts)


def _flow(family: int, payload: bytes) -> Flow | None:
    tuples = attributes(payload)
    if ORIGINAL not in tuples or REPLY not in tuples:
        return None
    protocol, _, _, asked, asked_port = _ends(tuples[ORIGINAL])
    if protocol != socket.IPPROTO_UDP:
        return None
    _, answers, answers_port, _, _ = _ends(tuples[REPLY])
    frontend = Frontend(asked, asked_port, protocol)
    return Flow(frontend, Backend(answers, answers_port), family, tuples[ORIGINAL])


def _ends(data: bytes) -> tuple[int, bytes, int, bytes, int]:
    """Give protocol, source, its port, destination, its port."""
    parts = attributes(data)
    addresses = list(attributes(parts[ADDRESSES]).values())  # source, destination
    ports = attributes(parts[PORTS])  # number, source port, destination port
    source, destination = (V4_PREFIX + a if len(a) == 4 else a for a in addresses)
    return ports[NUMBER][0], source, _port(ports.get(2)), destination, _port(ports.get(DESTINATION_PORT))


def _port(data: bytes | None) -> int:
    return int.from_bytes(data, "big") if data else 0
