"""A node with the packet path as the agent has it, in namespaces of its own; every test begins with empty tables."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

from rig.sandbox import mounted_bpffs
from socklb.config import Config
from socklb.datapath.node_datapath import OBJECTS, NodeDatapath
from socklb.datapath.sizes import Sizes
from socklb.desired.network_flags import flags_of
from socklb.model import Addresses, Backend, Difference, Frontend, Serving, pack_address
from socklb.report import PacketFacts
from socklb.tc import links
from socklb.tc.path import TcPath
from tests.packets.network import ADDRESSES, POD_CIDRS, PODS, PODS6, Network, with_servers
from tests.packets.programs import PATIENCE, asking
from tests.support.waiting import until

CONFIG = Config(node="node", max_flows=1024, pod_cidrs=tuple(POD_CIDRS))
SIZES = Sizes(512, 1024)
Ask = Callable[..., list[str]]


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    with with_servers() as place:
        yield place


class Node:
    """The tables that hooks and packets share, and the packet path with its thread. No hook is attached."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network, self._folder = network, folder
        self.open()

    def open(self) -> None:
        """Have an agent at work."""
        with ExitStack() as opened:
            folders = (self._folder / "bpffs", self._folder, OBJECTS)
            datapath = opened.enter_context(NodeDatapath(*folders, SIZES, self._folder / "run"))
            self.tables, self.pins = datapath.tables, datapath.pins
            self.path = TcPath(CONFIG, datapath.pins, OBJECTS)
            loop, life = opened.enter_context(asyncio.Runner()), AsyncExitStack()
            with self.network.inside("node"):
                loop.run(life.enter_async_context(self.path.kept_whole()))
            opened.callback(lambda: loop.run(life.aclose()))
            self._opened = opened.pop_all()

    def close(self) -> None:
        """End it; what is pinned and attached goes on."""
        self._opened.close()

    def sync(self, frontends: dict[Frontend, Serving], addresses: Addresses = ADDRESSES) -> None:
        """Serve these alone."""
        known = self.tables.addresses
        gone = frozenset(one for one in self.tables.frontends if not one.scope) - frontends.keys()
        self._bring(Difference(frontends, gone, addresses.without(known), known.without(addresses)))
        self.refuse_in()
        self.path.serve()
        wait_until(lambda: self.facts.whole)

    @property
    def facts(self) -> PacketFacts:
        """What the report says of it."""
        with self.network.inside("node"):
            return self.path.facts

    def apply(self, put: dict[Frontend, Serving], delete: frozenset[Frontend] = frozenset()) -> None:
        self._bring(Difference(put, delete))

    def _bring(self, difference: Difference) -> None:
        self.tables.apply(difference.for_tables())
        self.path.apply(difference)

    def refuse_in(self, *service_cidrs: str) -> None:
        self.tables.networks.set(flags_of(CONFIG.pod_cidrs, (), service_cidrs))

    def hear_of_pods(self, ask: Ask) -> None:
        """Have a pod ask by packet: from then on there are programs at pods' devices."""
        self.sync({frontend("10.96.0.10"): serving("b")})
        assert names(ask("a", "10.96.0.10")) == {"b"}
        assert {device.name for device in self.facts.devices} == {"eth0", "a", "b"}


@pytest.fixture(scope="session")
def ask(network: Network) -> Ask:
    def ask(place: str, address: str, port: int = 80, kind: str = "tcp", times: int = 1, own: int = 0) -> list[str]:
        return network.output(place, *asking(address, port, kind, times, own)).splitlines()

    return ask


@pytest.fixture(scope="session")
def serving_node(network: Network, ask: Ask, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node")
    with mounted_bpffs(folder / "bpffs"):
        node = Node(network, folder)
        try:
            node.hear_of_pods(ask)
            yield node
        finally:
            node.close()
            with network.inside("node"):
                links.remove(node.pins.tc_links)


@pytest.fixture
def node(serving_node: Node) -> Iterator[Node]:
    yield serving_node
    serving_node.sync({}, Addresses())


@pytest.fixture
def bridges_pass_netfilter_by(network: Network) -> None:
    """As they do without br_netfilter: the uplink is a bridge here, whose packets it shows to netfilter before us."""
    see_bridged_packets(network, see=False)


def see_bridged_packets(network: Network, *, see: bool) -> None:
    for family in ("", "6"):
        network.run("node", "sysctl", "-q", "-w", f"net.bridge.bridge-nf-call-ip{family}tables={see:d}")


def frontend(address: str, port: int = 80, protocol: int = 6) -> Frontend:
    return Frontend(pack_address(address), port, protocol)


def backends(*pods: str, six: bool = False) -> tuple[Backend, ...]:
    return tuple(Backend(pack_address((PODS6 if six else PODS)[pod]), 8080) for pod in pods)


def serving(*pods: str, six: bool = False, **how: object) -> Serving:
    return Serving(backends(*pods, six=six), **how)  # type: ignore[arg-type]


def names(answers: Sequence[str]) -> set[str]:
    return {answer.split()[0] for answer in answers}


def wait_until(true: Callable[[], object]) -> None:
    until(true, 5 * PATIENCE)
