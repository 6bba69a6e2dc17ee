"""What can be checked on a node, from the kernel's tables, and how a result is made."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from socklb import control_socket
from socklb.check.result import FAILED, PASSED, SKIPPED, Result
from socklb.config import Config
from socklb.datapath import dump
from socklb.datapath.maps import HashTable
from socklb.datapath.pins import Pins
from socklb.desired.names import names_of_frontends
from socklb.model import ANY4, ANY6, SOCKET_PROTOCOLS, Backend, Frontend, Serving, endpoint_text, frontend_text, is_ipv4


class Node(NamedTuple):
    """The kernel's tables: backends for clients inside, and outside if they differ; names; and the agent's status."""

    config: Config
    pins: Pins
    serving: dict[Frontend, Serving]
    outside: dict[Frontend, Serving]
    names: dict[str, str]
    services: frozenset[bytes]
    nodes: frozenset[bytes]
    own: frozenset[bytes]
    status: dict[str, Any] | None

    def name(self, frontend: Frontend) -> str:
        """Return the Service of a frontend and its address."""
        anywhere = frontend._replace(address=ANY4 if is_ipv4(frontend.address) else ANY6)
        known = self.names.get(asked := frontend_text(frontend)) or self.names.get(frontend_text(anywhere), "")
        return f"{known} {asked}".lstrip()


def read(config: Config) -> Node:
    """Read the tables, and ask the agent for names and its status."""
    pins = Pins(Path(config.bpffs))
    held = dump.read_frontends(pins.maps)
    served = {f: how for f, how in held.items() if not f.scope}
    outside = {f._replace(scope=0): how for f, how in held.items() if f.scope}
    services, nodes, own = (_addresses(pins, name) for name in ("service_addrs", "node_addrs", "own_addrs"))
    try:
        status = control_socket.ask(Path(config.socket), "status")
    except control_socket.SilentAgentError as error:
        status = {"error": error.message}
    return Node(config, pins, served, outside, names_of_frontends(config), services, nodes, own, status)


def _addresses(pins: Pins, name: str) -> frozenset[bytes]:
    with closing(HashTable(pins.maps, name, 16, 1)) as table:
        return frozenset(address for address, _ in table.items())


def at_nodes(ports: Iterable[Frontend], addresses: frozenset[bytes]) -> Iterator[Frontend]:
    """Yield each NodePort at one address of its family."""
    for frontend in ports:
        for address in sorted(one for one in addresses if is_ipv4(one) == is_ipv4(frontend.address))[:1]:
            yield frontend._replace(address=address)


def at_sockets(node: Node) -> Iterator[tuple[Frontend, Serving]]:
    """Yield what the hooks serve, in the order of the Services' names."""
    chosen = ((f, how) for f, how in node.serving.items() if f.protocol in SOCKET_PROTOCOLS and how.sources is None)
    yield from sorted(chosen, key=lambda one: (node.names.get(frontend_text(one[0]), ""), one[0]))


def can_be_asked(frontend: Frontend, how: Serving) -> bool:
    """Return whether somebody would accept a connection, which can be closed without sending data."""
    return bool(how.backends) and frontend.protocol == socket.IPPROTO_TCP


def some(frontends: Sequence[Frontend], most: int) -> list[Frontend]:
    """Return at most this many of them, spread evenly."""
    count = min(most, len(frontends))
    return [frontends[i * len(frontends) // count] for i in range(count)]


def others(check_: str, frontends: Sequence[Frontend], most: int) -> Iterator[Result]:
    """Yield how many were not checked."""
    if len(frontends) > most:
        seen = f"{most} were asked, spread evenly over all"
        yield Result(check_, f"{len(frontends) - most} other frontends", SKIPPED, seen)


def explain(frontend: Frontend) -> str:
    """Return the command that tells more."""
    protocol = "/udp" if frontend.protocol == socket.IPPROTO_UDP else ""
    return f"socklb explain {endpoint_text(Backend(frontend.address, frontend.port))}{protocol}"


def result(check_: str, subject: str, problem: str, seen: str, further: str) -> Result:
    """Return a result: failed if there is a problem, and then with the next command."""
    return Result(check_, subject, FAILED, problem, further) if problem else Result(check_, subject, PASSED, seen)
