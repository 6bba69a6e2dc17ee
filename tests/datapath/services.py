"""Services to write into the tables of a test."""

from __future__ import annotations

import socket

from rig.sandbox import BACKENDS4, BACKENDS6, PORT
from socklb.model import Addresses, Backend, Difference, Frontend, Serving, pack_address

SERVICE4, SERVICE6 = "10.96.0.10", "fd00:10:96::a"


def serving(*addresses: str, affinity: int = 0, least_loaded: bool = False) -> Serving:
    return Serving(tuple(Backend(pack_address(address), PORT) for address in addresses), affinity, least_loaded)


def frontend(address: str, protocol: int = socket.IPPROTO_TCP, port: int = 80) -> Frontend:
    return Frontend(pack_address(address), port, protocol)


def web(addresses4: tuple[str, ...] = BACKENDS4[:2], addresses6: tuple[str, ...] = BACKENDS6[:2]) -> Difference:
    """A dual-stack Service on port 80, TCP and UDP."""
    put = {}
    for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
        put[frontend(SERVICE4, protocol)] = serving(*addresses4)
        put[frontend(SERVICE6, protocol)] = serving(*addresses6)
    return Difference(put=put, add=Addresses(services=frozenset({pack_address(SERVICE4), pack_address(SERVICE6)})))
