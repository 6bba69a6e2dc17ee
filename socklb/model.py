"""What a node serves: frontends, how each of them is served, and what changes. The plan makes it; both paths apply it.

    Difference(put={Frontend(pack_address("10.96.0.10"), 80, IPPROTO_TCP): Serving(backends)})

Addresses are 16 bytes in network order, IPv4 as ::ffff:a.b.c.d; ports are in host order.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

V4_PREFIX = bytes(10) + b"\xff\xff"
ANY4 = V4_PREFIX + bytes(4)
ANY6 = bytes(16)
PROTOCOLS = {socket.IPPROTO_TCP: "TCP", socket.IPPROTO_UDP: "UDP", socket.IPPROTO_SCTP: "SCTP"}
FROM_OUTSIDE = 1
SOCKET_PROTOCOLS = {socket.IPPROTO_TCP, socket.IPPROTO_UDP}


class Frontend(NamedTuple):
    """What a client connects to: address (16 bytes), port, IP protocol number.

    A NodePort has the unspecified address of its family, `ANY4` or `ANY6`.
    scope: FROM_OUTSIDE for clients outside the cluster, if other backends serve them; used in the tables only.
    """

    address: bytes
    port: int
    protocol: int
    scope: int = 0


class Backend(NamedTuple):
    """Where a connection goes: address (16 bytes) and port."""

    address: bytes
    port: int


class Serving(NamedTuple):
    """How one frontend is served.

    backends: the backends for clients inside the cluster; if there are none, those clients are refused.
    affinity: a client gets the same backend again for this many seconds after its last request; 0: it may get any.
    least_loaded: a TCP connection goes to the less loaded of two random backends.
    own_node_only: a NodePort that is served only at the addresses of this node: a connection to another node's address
    is not translated (externalTrafficPolicy Local).
    outside: the backends for clients outside the cluster, which keep their address (externalTrafficPolicy Local). None:
    the same as inside, with their address masqueraded.
    may_be_bound: an endpoint, ready or not, listens at this very port of a node, so a process of the node may bind it.
    lent: the frontend belongs to no Service but to the agent itself, for a moment (`socklb.agent.connect_check`).
    sources: the only networks that clients may come from; None: from everywhere. A socket does not know its address yet
    when it connects, so such a frontend is served by the packet path alone.
    """

    backends: tuple[Backend, ...] = ()
    affinity: int = 0
    least_loaded: bool = False
    own_node_only: bool = False
    outside: tuple[Backend, ...] | None = None
    sources: tuple[str, ...] | None = None
    may_be_bound: bool = False
    lent: bool = False


class Addresses(NamedTuple):
    """Addresses that matter beyond a single frontend.

    services: ClusterIPs, whose ports without a frontend are refused.
    nodes: addresses of all nodes of the cluster, at which NodePorts are served.
    own: those of this node.
    """

    services: frozenset[bytes] = frozenset()
    nodes: frozenset[bytes] = frozenset()
    own: frozenset[bytes] = frozenset()

    def without(self, others: Addresses) -> Addresses:
        """Return those that `others` does not have."""
        return Addresses(*(mine - theirs for mine, theirs in zip(self, others, strict=True)))


class Difference(NamedTuple):
    """What is to change on the node."""

    put: Mapping[Frontend, Serving] = MappingProxyType({})
    delete: frozenset[Frontend] = frozenset()
    add: Addresses = Addresses()
    remove: Addresses = Addresses()

    def for_sockets(self) -> Difference:
        """Return the part for the socket hooks. Frontends that they do not serve any more are deleted there."""
        put = {
            frontend: serving if serving.outside is None else serving._replace(outside=None)
            for frontend, serving in self.put.items()
            if not packet_only(frontend, serving)
        }
        return self._replace(put=put, delete=self.delete | (self.put.keys() - put.keys()))

    def for_tables(self) -> Difference:
        """Return what the tables hold if the packet path uses them too: all of it, with rows for clients outside."""
        outside = {
            frontend._replace(scope=FROM_OUTSIDE): Serving(serving.outside, serving.affinity, serving.least_loaded)
            for frontend, serving in self.put.items()
            if serving.outside is not None
        }
        known = {frontend._replace(scope=FROM_OUTSIDE) for frontend in self.put.keys() | self.delete}
        return self._replace(put={**outside, **self.put}, delete=self.delete | (known - outside.keys()))


def packet_only(frontend: Frontend, serving: Serving) -> bool:
    """Return whether a frontend is served by the packet path alone."""
    return frontend.protocol not in SOCKET_PROTOCOLS or serving.sources is not None


def pack_address(text: str) -> bytes:
    """Return the 16 bytes of an IPv4 or IPv6 address in text.

    Raises:
        ValueError: `text` is neither.
    """
    for family, prefix in ((socket.AF_INET, V4_PREFIX), (socket.AF_INET6, b"")):
        try:
            return prefix + socket.inet_pton(family, text)
        except OSError:
            continue
    raise ValueError(f"{text!r} is not an IPv4 or IPv6 address")


def is_ipv4(address: bytes) -> bool:
    """Return whether an address of 16 bytes is an IPv4 address."""
    return address.startswith(V4_PREFIX)


def is_loopback(address: bytes) -> bool:
    """Return whether an address of 16 bytes is a loopback address: 127.0.0.0/8 or ::1."""
    return address.startswith(V4_PREFIX + b"\x7f") or address == bytes(15) + b"\x01"


def address_text(address: bytes) -> str:
    """Return an address of 16 bytes as text, IPv4-mapped ones as IPv4."""
    if is_ipv4(address):
        return socket.inet_ntop(socket.AF_INET, address[12:])
    return socket.inet_ntop(socket.AF_INET6, address)


def frontend_text(frontend: Frontend) -> str:
    """Return a frontend as text: 10.96.0.10:80/TCP, [fd00::a]:80/UDP."""
    name = PROTOCOLS.get(frontend.protocol, str(frontend.protocol))
    return f"{endpoint_text(Backend(frontend.address, frontend.port))}/{name}"


def endpoint_text(backend: Backend) -> str:
    """Return address and port as text: 10.96.0.10:80, [fd00::a]:80."""
    host = address_text(backend.address)
    return f"[{host}]:{backend.port}" if ":" in host else f"{host}:{backend.port}"
