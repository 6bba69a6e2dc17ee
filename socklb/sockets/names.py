"""Which Service a socket asked for, and the present state of the backend that it was given.

    names = Names(config, maps)
    key = names.service(asked, protocol)            # NAMESPACE/NAME; None: unknown
    states = names.states({key, …})
    states.of(frontend, given)                      # ready, terminating, not ready, not chosen, gone

The kernel's tables say which backends serve, the agent which endpoints are terminating. If no agent runs, a backend
that no longer serves counts as gone, and `current` is false.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from socklb import control_socket
from socklb.config import Config
from socklb.datapath import dump
from socklb.datapath.maps import HashTable
from socklb.desired.names import entries
from socklb.model import (
    ANY4,
    ANY6,
    Backend,
    Frontend,
    Serving,
    address_text,
    endpoint_text,
    frontend_text,
    is_ipv4,
    is_loopback,
)

AT_ONCE = 200  # Services per question, because a line is 64 KiB at most
READY, TERMINATING, NOT_READY, NOT_CHOSEN, GONE = "ready", "terminating", "not ready", "not chosen", "gone"


class Target(NamedTuple):
    """The frontend that a socket was translated by, how it is served now, and its Service; None: it does not exist any
    more.
    """

    serving: Serving | None
    service: str | None


class Names:
    """See the module."""

    def __init__(self, config: Config, maps: Path) -> None:
        """Read the tables, and ask the agent for names."""
        self._config = config
        self._served = dump.read_frontends(maps)
        self._nodes = _node_addresses(maps)
        known, self.current = entries(config, "", "")
        self._services = {entry.frontend: entry.service for entry in known}
        self._by_address = {frontend.rpartition(":")[0].strip("[]"): name for frontend, name in self._services.items()}
        self._conditions: dict[str, dict[str, str]] = {}

    def target(self, asked: Backend, protocol: int) -> Target:
        """Return the frontend that a Service address belongs to."""
        for frontend in self._frontends(asked, protocol):
            serving, service = self._served.get(frontend), self._services.get(frontend_text(frontend))
            if serving is not None or service is not None:
                return Target(serving, service)
        return Target(None, None)

    def of_address(self, address: bytes) -> str | None:
        """Return the Service of an address, whatever the port; not for NodePorts."""
        return None if address in (ANY4, ANY6) else self._by_address.get(address_text(address))

    def learn(self, services: Iterable[str]) -> None:
        """Ask for the conditions of these Services' endpoints."""
        keys = iter(sorted(services))
        while self.current and (some := list(islice(keys, AT_ONCE))):
            self._conditions.update(control_socket.ask(Path(self._config.socket), f"endpoints {' '.join(some)}") or {})

    def state(self, target: Target, given: Backend) -> str:
        """Return the present state of a backend."""
        serves = target.serving is not None and given in target.serving.backends
        said = self._conditions.get(target.service or "", {}).get(endpoint_text(given))
        if said in (None, READY):
            return READY if serves else GONE if said is None else NOT_CHOSEN
        return said or GONE

    def _frontends(self, asked: Backend, protocol: int) -> Iterator[Frontend]:
        """Yield the frontends that may have been used: the address' own, then the NodePort."""
        kind = socket.IPPROTO_UDP if protocol == socket.IPPROTO_UDP else socket.IPPROTO_TCP
        yield Frontend(asked.address, asked.port, kind)
        if asked.address in self._nodes or is_loopback(asked.address):
            yield Frontend(ANY4 if is_ipv4(asked.address) else ANY6, asked.port, kind)


def _node_addresses(maps: Path) -> frozenset[bytes]:
    """Return the addresses with NodePorts: the unspecified ones, and those of nodes."""
    with closing(HashTable(maps, "node_addrs", 16, 1)) as table:
        return frozenset({ANY4, ANY6, *(address for address, _ in table.items())})
