"""Connection-tracking entries of UDP, over netlink: list them, delete one.

    for flow in listed(): delete(flow)

Needs no program. What it does not give: entries of other protocols, and other zones than the first.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from socklb.serving import V4_PREFIX, Backend, Frontend

NETLINK_NETFILTER = 12
NEW, GET, DELETE = 0x100, 0x101, 0x102  # NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_*
REQUEST, ACK, DUMP = 1, 4, 0x300
ERROR, DONE = 2, 3
ORIGINAL, REPLY = 1, 2  # CTA_TUPLE_*
HEADER, ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=HH")


class Flow(NamedTuple):
    """An entry: what was asked for, and who answers; `original` is how the kernel names it."""

    asked: Frontend
    answers: Backend
    family: int
    original: bytes


def listed() -> Iterator[Flow]:
    """Give the UDP entries of this network namespace.

    Raises:
        OSError: netlink refused.
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        for kind, payload in _exchange(GET, DUMP, family, b""):
            if kind == NEW and (flow := _flow(family, payload)):
                yield flow


def delete(flow: Flow) -> None:
    """Delete an entry; one that is gone already is no error.

    Raises:
        OSError: netlink refused.
    """
    attribute = ATTRIBUTE.pack(4 + len(flow.original), ORIGINAL | 0x8000) + flow.original
    try:
        list(_exchange(DELETE, ACK, flow.family, attribute))
    except FileNotFoundError:
        return


def _exchange(kind: int, flags: int, family: int, payload: bytes) -> Iterator[tuple[int, bytes]]:
    body = struct.pack("=BBH", family, 0, 0) + payload
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
        netlink.bind((0, 0))
        netlink.send(HEADER.pack(HEADER.size + len(body), kind, REQUEST | flags, 1, 0) + body)
        while True:
            for kind_received, data in _messages(netlink.recv(1 << 18)):
                if kind_received == DONE:
                    return
                if kind_received == ERROR:
                    (code,) = struct.unpack_from("=i", data)
                    if code:
                        raise OSError(-code, os.strerror(-code))
                    return
                yield kind_received, data[4:]


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        length, kind, *_ = HEADER.unpack_from(data, at)
        yield kind, data[at + HEADER.size : at + length]
        at += (length + 3) & ~3


def _flow(family: int, payload: bytes) -> Flow | None:
    tuples = _attributes(payload)
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
    parts = _attributes(data)
    addresses = list(_attributes(parts[1]).values())  # CTA_TUPLE_IP: source, destination
    ports = _attributes(parts[2])  # CTA_TUPLE_PROTO: number, source port, destination port
    source, destination = (V4_PREFIX + a if len(a) == 4 else a for a in addresses)
    return ports[1][0], source, _port(ports.get(2)), destination, _port(ports.get(3))


def _port(data: bytes | None) -> int:
    return int.from_bytes(data, "big") if data else 0


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, at)
        found[kind & 0x3FFF] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found
