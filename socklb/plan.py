"""The tables that should be: what clients may ask for, and who answers. Pure.

    difference = plan.update(state, state.apply(batch.changes))

A frontend belongs to one Service. If a second one claims it, the first keeps it until it lets go, and `problems`
says so. The cost of a change is that of the Services it is about. Addresses of a Node are about those with a NodePort
and externalTrafficPolicy Local; the zone of our own Node is about those whose endpoints have hints for zones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from socklb.api.source import Problem
from socklb.endpoints import Place
from socklb.frontends import (
    NOTHING,
    ServicePlan,
    Surroundings,
    depends_on_nodes,
    depends_on_zone,
    plan_node,
    plan_service,
)
from socklb.serving import Addresses, Difference, Frontend, Serving, frontend_text
from socklb.state import Affected, State


class Tables(NamedTuple):
    """Everything that should be in the kernel."""

    frontends: dict[Frontend, Serving]
    addresses: Addresses


class Plan:
    """The plans of all Services and Nodes, and who has which frontend."""

    def __init__(self, node: str) -> None:
        """Begin with nothing, for the node of this name."""
        self._here = Place(node)
        self._on_nodes: set[str] = set()  # Services that depend on the addresses of Nodes
        self._on_zone: set[str] = set()  # Services that depend on our zone
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
        return Tables(frontends, Addresses(frozenset(self._addresses), frozenset(self._node_addresses), self._own))

    def update(self, state: State, affected: Affected) -> Difference:
        """Plan the affected Services and Nodes anew and give the difference."""
        own = self._own
        moved_nodes, nodes_matter = self._update_nodes(state, affected.nodes)
        zone_matters = self._update_zone(state)
        concerned = affected.services | nodes_matter | zone_matters
        before: dict[Frontend, Serving | None] = {}
        moved: Counter[bytes] = Counter()
        for key in sorted(concerned):  # sorted: the same Service wins a contest after every restart
            new = self._plan(key, state)
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
            *self._moved_addresses(moved, moved_nodes, own),
        )

    @property
    def _own(self) -> frozenset[bytes]:
        return self.nodes.get(self._here.node, frozenset())

    def _moved_addresses(
        self, services: Counter[bytes], nodes: Counter[bytes], own_before: frozenset[bytes]
    ) -> tuple[Addresses, Addresses]:
        """Give the addresses that came and those that went."""
        new_services, old_services = _recount(self._addresses, services)
        new_nodes, old_nodes = _recount(self._node_addresses, nodes)
        return (
            Addresses(new_services, new_nodes, self._own - own_before),
            Addresses(old_services, old_nodes, own_before - self._own),
        )

    def _serving(self, frontend: Frontend) -> Serving | None:
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

    def _plan(self, key: str, state: State) -> ServicePlan:
        """Plan a Service, and note what else its plan depends on."""
        service, slices = state.services.get(key), state.slices(key)
        _include(self._on_nodes, key, when=service is not None and depends_on_nodes(service))
        _include(self._on_zone, key, when=service is not None and depends_on_zone(slices))
        return plan_service(service, slices, Surroundings(self._here, self.nodes)) if service else NOTHING

    def _update_nodes(self, state: State, names: AbstractSet[str]) -> tuple[Counter[bytes], AbstractSet[str]]:
        """Take over Nodes; give by how many more of them each address is used, and the Services to plan anew."""
        moved: Counter[bytes] = Counter()
        for name in names:
            node = state.nodes.get(name)
            new = plan_node(node) if node else frozenset[bytes]()
            old = self.nodes.pop(name, frozenset[bytes]())
            if node:
                self.nodes[name] = new
            moved.update(new - old)
            moved.subtract(old - new)
        return moved, self._on_nodes if moved else frozenset[str]()  # one that moved between Nodes is in it, with 0

    def _update_zone(self, state: State) -> AbstractSet[str]:
        """Take over our own zone; give the Services to plan anew."""
        node = state.nodes.get(self._here.node)
        before, self._here = self._here, Place(self._here.node, node.zone if node else "")
        return self._on_zone if self._here != before else frozenset[str]()


def _include(names: set[str], name: str, *, when: bool) -> None:
    if when:
        names.add(name)
    else:
        names.discard(name)


def _recount(counts: Counter[bytes], moved: Counter[bytes]) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """Add `moved` to `counts` and give the addresses that came and those that went."""
    before = {address for address in moved if counts[address]}
    counts.update(moved)
    after = {address for address in moved if counts[address]}
    for address in moved.keys() - after:
        del counts[address]
    return frozenset(after - before), frozenset(before - after)
