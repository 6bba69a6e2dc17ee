"""N Services, for the tables and the rules that are measured.

Three of them are used by clients: they have TCP and UDP, a NodePort, and endpoints that exist, and are in the middle,
where a packet has passed half of a linear chain. Of the others, which have TCP, every tenth has a NodePort.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.networks import HERE, SERVER_PORT, THERE
from socklb.model import ANY4, Addresses, Backend, Difference, Frontend, Serving, pack_address

FIRST_SERVICE = int(ipaddress.IPv4Address("10.96.0.10"))
FIRST_ENDPOINT = int(ipaddress.IPv4Address("10.224.0.0"))
PODS, SERVICES = "10.224.0.0/11", "10.96.0.0/12"
SERVICE_PORT = 80
ENDPOINTS = 4
MOST_NODE_PORTS = 2000  # for the others; there are 2768 ports
PROTOCOLS = {"tcp": 6, "udp": 17}


class Asked(NamedTuple):
    """A Service that clients use: its position after the middle one, and its NodePort."""

    behind: int
    node_port: int
    endpoints: Sequence[str]
    local: bool = False  # externalTrafficPolicy


OF_HERE = Asked(0, 32000, HERE)
OF_HERE_LOCAL = Asked(1, 32001, HERE, local=True)
OF_THERE = Asked(2, 32002, THERE)
ASKED = (OF_HERE, OF_HERE_LOCAL, OF_THERE)


class ServicePort(NamedTuple):
    """One port of a Service."""

    name: str
    address: str
    protocol: str
    endpoints: Sequence[str]
    node_port: int = 0
    local: bool = False


def asked_address(count: int, asked: Asked) -> str:
    """Return the ClusterIP of a Service that clients use, one of `count`."""
    return service_address(count // 2 + asked.behind)


def service_address(number: int) -> str:
    """Return the ClusterIP of a Service."""
    return str(ipaddress.IPv4Address(FIRST_SERVICE + number))


def services(count: int) -> Iterator[ServicePort]:
    """Yield every port of every Service."""
    special = {count // 2 + asked.behind: asked for asked in ASKED}
    for number in range(count):
        asked = special.get(number) or _of_nobody(number)
        for protocol in PROTOCOLS if number in special else ("tcp",):
            name = f"ns{number % 50}/svc{number}/{protocol}/p80"
            yield ServicePort(
                name, service_address(number), protocol, asked.endpoints, asked.node_port, local=asked.local
            )


def _of_nobody(number: int) -> Asked:
    first, tenth = FIRST_ENDPOINT + number * ENDPOINTS, number // 10
    has_port = number % 10 == 0 and tenth < MOST_NODE_PORTS
    endpoints = [str(ipaddress.IPv4Address(first + i)) for i in range(ENDPOINTS)]
    return Asked(0, 30000 + tenth if has_port else 0, endpoints)


def as_difference(count: int) -> Difference:
    """Return them in the form in which they are written into socklb's tables."""
    put: dict[Frontend, Serving] = {}
    addresses: set[bytes] = set()
    for port in services(count):
        backends = tuple(Backend(pack_address(address), SERVER_PORT) for address in port.endpoints)
        protocol, address = PROTOCOLS[port.protocol], pack_address(port.address)
        put[Frontend(address, SERVICE_PORT, protocol)] = Serving(backends)
        addresses.add(address)
        if port.node_port:
            outside = backends if port.local else None
            put[Frontend(ANY4, port.node_port, protocol)] = Serving(backends, own_node_only=port.local, outside=outside)
    return Difference(put, add=Addresses(services=frozenset(addresses)))


def short_hash(text: str) -> str:
    """Return 16 characters in place of a name, as kube-proxy shortens the names of its chains."""
    return base64.b32encode(hashlib.sha256(text.encode()).digest())[:16].decode()
