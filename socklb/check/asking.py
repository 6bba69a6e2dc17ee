"""Requests from the node itself, over the cluster's network: an answer comes from a server that really exists.

A TCP connection is made and closed without sending data; over UDP only a DNS server is sent a query.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from socklb.check.sealed import end_of, family_of
from socklb.model import Backend, Frontend, endpoint_text
from socklb.sockets.records import Records

PATIENCE = 2.0  # seconds
AT_ONCE = 8
QUESTION = "kubernetes.default.svc.cluster.local"

T = TypeVar("T")


class Asked(NamedTuple):
    """The result of a connection: an error, or empty; and the peer's address as the application sees it."""

    error: str
    name: tuple[str, int] | None = None


def all_of(frontends: Iterable[Frontend], ask: Callable[[Frontend], T]) -> list[tuple[Frontend, T]]:
    """Send several requests at once; return the results."""
    asked = list(frontends)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(zip(asked, threads.map(ask, asked), strict=True))


def connect(asked: Frontend, records: Records) -> Asked:
    """Connect by TCP and close."""
    with socket.socket(family_of(asked), socket.SOCK_STREAM) as client:
        client.settimeout(PATIENCE)
        try:
            client.connect(end_of(asked))
            return Asked("", client.getpeername()[:2])
        except OSError as error:
            given = records.newest(client)
            led = f", led to {endpoint_text(given.given)}" if given and _is(given.asked, asked) else ", led nowhere"
            return Asked(f"connect(): {error.strerror or error}{led}")


def _is(known: Backend, asked: Frontend) -> bool:
    return known == (asked.address, asked.port)


def dns(asked: Frontend) -> str:
    """Query a DNS server over UDP, twice if necessary; return what is wrong, or an empty text. "No such name" is an
    answer.
    """
    number = os.urandom(2)
    labels = b"".join(bytes((len(label),)) + label.encode() for label in QUESTION.split("."))
    query = number + struct.pack("!5H", 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)
    with socket.socket(family_of(asked), socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        for _ in range(2):
            try:
                client.sendto(query, end_of(asked))
                answer, source = client.recvfrom(4096)
            except TimeoutError:
                continue
            except OSError as error:
                return error.strerror or str(error)
            if source[:2] != end_of(asked):
                return f"the answer comes from {source[0]} port {source[1]}"
            return "" if answer[:2] == number and answer[2] & 0x80 else "what came is no answer to the question"
    return f"no answer in {2 * PATIENCE:.0f} s"
