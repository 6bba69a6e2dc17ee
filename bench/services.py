"""N Services, as they are written into the tables and the rules that are measured.

The tested one is the middle one, where a packet has passed half of a linear chain. Only its endpoints exist.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.networks import SERVERS

FIRST_SERVICE = int(ipaddress.IPv4Address("10.96.0.10"))
FIRST_ENDPOINT = int(ipaddress.IPv4Address("10.224.0.0"))
PODS = "10.224.0.0/11"
SERVICE_PORT = 80
ENDPOINTS = 4


class ServicePort(NamedTuple):
    """One port of a Service."""

    name: str
    address: str
    protocol: str
    endpoints: Sequence[str]


def tested_address(count: int) -> str:
    """Give the address of the Service that exists."""
    return service_address(count // 2)


def service_address(number: int) -> str:
    """Give the ClusterIP of a Service."""
    return str(ipaddress.IPv4Address(FIRST_SERVICE + number))


def services(count: int) -> Iterator[ServicePort]:
    """Give every port of every Service: the tested one has TCP and UDP, the others TCP."""
    for number in range(count):
        first, tested = FIRST_ENDPOINT + number * ENDPOINTS, number == count // 2
        endpoints = SERVERS if tested else [str(ipaddress.IPv4Address(first + i)) for i in range(ENDPOINTS)]
        for protocol in ("tcp", "udp") if tested else ("tcp",):
            name = f"ns{number % 50}/svc{number}/{protocol}/p80"
            yield ServicePort(name, service_address(number), protocol, endpoints)


def short_hash(text: str) -> str:
    """Give 16 characters that stand for a name, as kube-proxy shortens the names of its chains."""
    return base64.b32encode(hashlib.sha256(text.encode()).digest())[:16].decode()
