"""What is compared: nodes without Services, with socklb, and with kube-proxy's rules.

columns = [*direct_columns(opened), *service_columns(opened, scratch, 1000, loading)]
columns[0].path(SAME_NODE, to_service=True)
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from bench import iptables, nftables
from bench.networks import CONNTRACK_SETTINGS, FAR_NODE, NODE, NODE_LAN, SERVER_PORT, Site, run_in
from bench.node import at_devices, cgroup, load_services, room_for, serving
from bench.progress import progress
from bench.services import ENDPOINTS, SERVICE_PORT, asked_address, services
from bench.ways import Way

DIRECT, AGAIN, DEPLOYED, HOOKS = "direct", "direct again", "socklb, as deployed", "its hooks alone"
HOST_ROUTING = "with host_routing"
NFTABLES, IPTABLES = "nftables rules", "iptables rules"
WITH_SERVICES = (DEPLOYED, HOST_ROUTING, HOOKS, NFTABLES, IPTABLES)
RULES_UP_TO = 10_000  # Services; for more, the kernel takes minutes to load kube-proxy's rules
NFTABLES_THERE = 1000  # the most at the other node, for the same reason: a packet to a pod is looked up once there
Loading = dict[tuple[str, int], float]  # seconds, by column


class Column(NamedTuple):
    """One way to provide Services.

    services: how many; 0: none, so that the server itself is used.
    plain: a cgroup without hooks; hooked: those of both nodes.
    between: what its agents would do during a client's request.
    """

    name: str
    services: int
    site: Site
    plain: Path
    hooked: tuple[Path, Path]
    between: Sequence[Callable[[], object]] = ()

    def serves(self, way: Way) -> bool:
        """Return whether a client is served on a way."""
        return self.name != HOOKS or way.hooked

    def path(self, way: Way, *, to_service: bool) -> str:
        """Return a way in the format of worker/main.c, or the way to the server itself."""
        clients = self.hooked[0] if way.hooked else self.plain
        servers = self.hooked[way.server == "there"]
        address, port = self._asked(way) if to_service and self.services else (way.asked.endpoints[0], SERVER_PORT)
        networks = getattr(self.site, way.client), getattr(self.site, way.server)
        return ":".join(map(str, (*networks, clients, servers, address, port)))

    def _asked(self, way: Way) -> tuple[str, int]:
        if way.by_node_port:
            return NODE, way.asked.node_port
        return asked_address(self.services, way.asked), SERVICE_PORT


def direct_columns(opened: ExitStack) -> Iterator[Column]:
    """Yield two columns without Services, which differ only in their names."""
    plain = cgroup(opened, "plain")
    for name in (DIRECT, AGAIN):
        yield Column(name, 0, Site.make(opened), plain, (plain, plain))


def service_columns(opened: ExitStack, scratch: Path, count: int, loading: Loading) -> Iterator[Column]:
    """Yield the columns with this many Services, and note the seconds that it took to load them."""
    plain = cgroup(opened, f"plain-{count}")
    yield hooks_alone(opened, scratch, count, plain, loading)
    for name in (DEPLOYED, HOST_ROUTING):
        yield deployed(opened, name, scratch, count, plain, loading)
    if count <= RULES_UP_TO:
        yield by_rules(opened, NFTABLES, (count, min(count, NFTABLES_THERE)), plain, loading)
        yield by_rules(opened, IPTABLES, (count, count), plain, loading)


def hooks_alone(opened: ExitStack, scratch: Path, count: int, plain: Path, loading: Loading) -> Column:
    """Return socklb's hooks, without programs at devices."""
    hooked = cgroup(opened, f"hooks-{count}")
    datapath = serving(opened, scratch / f"hooks-{count}", hooked, room_for(count, ENDPOINTS))
    with noted(loading, HOOKS, count):
        load_services(datapath, count)
    return Column(HOOKS, count, Site.make(opened), plain, (hooked, hooked))


def deployed(opened: ExitStack, name: str, scratch: Path, count: int, plain: Path, loading: Loading) -> Column:
    """Return two nodes as set up by the agent: hooks, and programs at devices that read the same tables."""
    site, between = Site.make(opened), list[Callable[[], object]]()
    hooked: list[Path] = []
    for network, own in zip(site.nodes, ((NODE, NODE_LAN), (FAR_NODE,)), strict=True):
        place = f"{name.partition(' ')[2]}-{count}-{own[0]}"
        hooked.append(cgroup(opened, place))
        datapath = serving(opened, scratch / place, hooked[-1], room_for(count, ENDPOINTS), packets=True)
        between.append(at_devices(opened, datapath, network, own, host_routing=name == HOST_ROUTING).sweep)
        with noted(loading, name, count):
            load_services(datapath, count, packets=True)
    return Column(name, count, site, plain, (hooked[0], hooked[1]), between)


def by_rules(opened: ExitStack, name: str, counts: tuple[int, int], plain: Path, loading: Loading) -> Column:
    """Return nodes with rules like those of kube-proxy, for this many Services at this node and the other."""
    site = Site.make(opened)
    for node, count in zip(site.nodes, counts, strict=True):
        with noted(loading, name, counts[0]):
            RULES[name](node, count)
        run_in(node, "sysctl", "-qw", *CONNTRACK_SETTINGS)
    return Column(name, counts[0], site, plain, (plain, plain))


def load_nftables(network: int, count: int) -> None:
    """Load this many Services as nftables rules in a namespace."""
    run_in(network, "nft", "-f", "-", text=nftables.ruleset(services(count)))


def load_iptables(network: int, count: int) -> None:
    """Load this many Services as iptables rules in a namespace."""
    run_in(network, "iptables-restore", text=iptables.ruleset(services(count)))


RULES = {NFTABLES: load_nftables, IPTABLES: load_iptables}


@contextmanager
def noted(loading: Loading, name: str, count: int) -> Generator[None]:
    """Note how long the first node took."""
    with progress(f"{count} Services into {name}") as spent:
        yield
    loading.setdefault((name, count), spent[0])
