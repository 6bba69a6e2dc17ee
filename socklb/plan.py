"""The tables that should be: what clients may ask for, and who answers. Pure.

    difference = plan.update(state, state.apply(batch.changes))

A frontend belongs to one Service. If a second one claims it, the first keeps it until it lets go, and `problems`
says so. SCTP ports, ExternalName and headless Services and those of another proxy have no frontends.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from socklb.api.addresses import is_ipv4, parse_address
from socklb.api.objects import EndpointSlice, IPFamily, Node, Service, ServicePort
from socklb.api.source import Problem
from socklb.datapath.layout import ANY4, ANY6, Backend, Difference, Frontend, frontend_text
from socklb.endpoints import backends
from socklb.state import Affected, State

PROTOCOLS = {"TCP": socket.IPPROTO_TCP, "UDP": socket.IPPROTO_UDP}
# kube-proxy leaves Services with one of these labels alone, whatever the value.
OTHERS_LABELS = {"service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"}


class ServicePlan(NamedTuple):
    """What one Service asks for. `addresses` are its ClusterIPs, whose other ports are refused."""

    frontends: dict[Frontend, tuple[Backend, ...]]
    addresses: frozenset[bytes]


class Tables(NamedTuple):
    """Everything that should be in the kernel."""

    frontends: dict[Frontend, tuple[Backend, ...]]
    addresses: frozenset[bytes]
    node_addresses: frozenset[bytes]


NOTHING = ServicePlan({}, frozenset())


def plan_service(service: Service, slices: Iterable[EndpointSlice]) -> ServicePlan:
    """Give the frontends of a Service with their backends, and its ClusterIPs."""
    if service.spec.type == "ExternalName" or not OTHERS_LABELS.isdisjoint(service.metadata.labels):
        return NOTHING
    cluster_ips = [parse_address(ip) for ip in service.spec.cluster_ips]
    frontends: dict[Frontend, tuple[Backend, ...]] = {}
    for port in service.spec.ports:
        for family in ("IPv4", "IPv6"):
            if claimed := list(_frontends(service, port, family, cluster_ips)):
                frontends |= dict.fromkeys(claimed, backends(port, family, slices))
    return ServicePlan(frontends, frozenset(cluster_ips))


def plan_node(node: Node) -> frozenset[bytes]:
    """Give the addresses on which a Node's NodePorts are asked for."""
    usable = (a for a in node.status.addresses if a.type in {"InternalIP", "ExternalIP"})
    return frozenset(parse_address(a.address) for a in usable)


def _frontends(service: Service, port: ServicePort, family: IPFamily, cluster_ips: list[bytes]) -> Iterator[Frontend]:
    protocol = PROTOCOLS.get(port.protocol)
    if protocol is None:
        return
    for address in cluster_ips:
        if _family(address) == family:
            yield Frontend(address, port.port, protocol)
    # An object from the API server has ipFamilies; one written by hand may leave them out.
    families = service.spec.ipFamilies or [_family(ip) for ip in cluster_ips] or ["IPv4"]
    if port.nodePort and service.spec.type in {"NodePort", "LoadBalancer"} and family in families:
        yield Frontend(ANY4 if family == "IPv4" else ANY6, port.nodePort, protocol)


def _family(address: bytes) -> IPFamily:
    return "IPv4" if is_ipv4(address) else "IPv6"


class Plan:
    """The plans of all Services and Nodes, and who has which frontend."""

    def __init__(self) -> None:
        self.services: dict[str, ServicePlan] = {}
        self.nodes: dict[str, frozenset[bytes]] = {}
        self._claims: dict[Frontend, tuple[str, ...]] = {}  # Services that claim it; the first has it
        self._contested: set[Frontend] = set()
        self._addresses: Counter[bytes] = Counter()  # by how many Services say so
        self._node_addresses: Counter[bytes] = Counter()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Frontends that a Service claims and another one has."""
        return tuple(
            Problem("", 0, "spec.ports", f"{frontend_text(frontend)} belongs to Service {holder}", f"Service/{loser}")
            for frontend in sorted(self._contested)
            for holder, *losers in [self._claims[frontend]]
            for loser in losers
        )

    def full(self) -> Tables:
        """Give everything, for the comparison with what the kernel holds at start."""
        frontends = {f: self.services[holder].frontends[f] for f, (holder, *_) in self._claims.items()}
        return Tables(frontends, frozenset(self._addresses), frozenset(self._node_addresses))

    def update(self, state: State, affected: Affected) -> Difference:
        """Plan the affected Services and Nodes anew and give the difference."""
        before: dict[Frontend, tuple[Backend, ...] | None] = {}
        moved: Counter[bytes] = Counter()
        for key in sorted(affected.services):  # sorted: the same Service wins a contest after every restart
            service = state.services.get(key)
            new = plan_service(service, state.slices(key)) if service else NOTHING
            old = self.services.get(key, NOTHING)
            for frontend in old.frontends.keys() | new.frontends.keys():
                if old.frontends.get(frontend) != new.frontends.get(frontend):
                    before.setdefault(frontend, self._serving(frontend))
            self._exchange(key, old, new)
            moved.update(new.addresses - old.addresses)
            moved.subtract(old.addresses - new.addresses)
        after = {frontend: self._serving(frontend) for frontend in before}
        return Difference(
            {f: now for f, now in after.items() if now is not None and now != before[f]},
            frozenset(f for f, now in after.items() if now is None and before[f] is not None),
            *_recount(self._addresses, moved),
            *_recount(self._node_addresses, self._update_nodes(state, affected)),
        )

    def _serving(self, frontend: Frontend) -> tuple[Backend, ...] | None:
        claims = self._claims.get(frontend)
        return self.services[claims[0]].frontends[frontend] if claims else None

    def _exchange(self, key: str, old: ServicePlan, new: ServicePlan) -> None:
        for frontend in old.frontends.keys() - new.frontends.keys():
            self._set_claims(frontend, tuple(k for k in self._claims[frontend] if k != key))
        for frontend in new.frontends.keys() - old.frontends.keys():
            self._set_claims(frontend, (*self._claims.get(frontend, ()), key))
        self.services.pop(key, None)
        if new is not NOTHING:
            self.services[key] = new

    def _set_claims(self, frontend: Frontend, claims: tuple[str, ...]) -> None:
        if claims:
            self._claims[frontend] = claims
        else:
            del self._claims[frontend]
        if len(claims) > 1:
            self._contested.add(frontend)
        else:
            self._contested.discard(frontend)

    def _update_nodes(self, state: State, affected: Affected) -> Counter[bytes]:
        moved: Counter[bytes] = Counter()
        for key in affected.nodes:
            node = state.nodes.get(key)
            new = plan_node(node) if node else frozenset[bytes]()
            old = self.nodes.pop(key, frozenset[bytes]())
            if node:
                self.nodes[key] = new
            moved.update(new - old)
            moved.subtract(old - new)
        return moved


def _recount(counts: Counter[bytes], moved: Counter[bytes]) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """Add `moved` to `counts` and give the addresses that came and those that went."""
    before = {address for address in moved if counts[address]}
    counts.update(moved)
    after = {address for address in moved if counts[address]}
    for address in moved.keys() - after:
        del counts[address]
    return frozenset(after - before), frozenset(before - after)
