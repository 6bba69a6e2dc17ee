"""A node with the packet path, in namespaces of its own; every test begins without a table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from socklb.packets.packets import Packets
from socklb.serving import Addresses, Backend, Difference, Frontend, Serving, pack_address
from tests.packets.network import ADDRESSES, POD_CIDRS, PODS, PODS6, Network, with_servers
from tests.packets.programs import CLIENT


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    with with_servers() as place:
        yield place


class Node:
    """The packet path of the node, called from inside its namespace."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.damages: list[str] = []
        self.open()

    def open(self) -> None:
        with self.network.inside("node"):
            self.packets = Packets(POD_CIDRS, on_damage=self.damages.append)

    def sync(self, frontends: dict[Frontend, Serving], addresses: Addresses = ADDRESSES) -> None:
        with self.network.inside("node"):
            self.packets.sync(frontends, addresses)

    def apply(self, put: dict[Frontend, Serving], delete: frozenset[Frontend] = frozenset()) -> None:
        with self.network.inside("node"):
            self.packets.apply(Difference(put, delete))

    def refuse_in(self, *networks: str) -> None:
        with self.network.inside("node"):
            self.packets.refuse_in(networks)

    def close(self) -> None:
        self.packets.close()


@pytest.fixture
def node(network: Network) -> Iterator[Node]:
    place = Node(network)
    yield place
    place.packets.remove()
    place.close()
    network.run("node", "conntrack", "-F")


@pytest.fixture
def ask(network: Network) -> Callable[..., list[str]]:
    def ask(place: str, address: str, port: int = 80, kind: str = "tcp", times: int = 1, own: int = 0) -> list[str]:
        words = [kind, address, str(port), str(times), str(own)]
        return network.output(place, sys.executable, "-c", CLIENT, *words).splitlines()

    return ask


def frontend(address: str, port: int = 80, protocol: int = 6) -> Frontend:
    return Frontend(pack_address(address), port, protocol)


def backends(*pods: str, six: bool = False) -> tuple[Backend, ...]:
    return tuple(Backend(pack_address((PODS6 if six else PODS)[pod]), 8080) for pod in pods)


def serving(*pods: str, six: bool = False, **how: object) -> Serving:
    return Serving(backends(*pods, six=six), **how)  # type: ignore[arg-type]
