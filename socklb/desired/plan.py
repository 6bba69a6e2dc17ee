"""The desired state: which frontends exist, and which backends serve them. Pure.

    difference = plan.update(state, state.apply(batch.changes))

A frontend belongs to one Service. If a second Service claims it, the first one keeps it until it gives it up, and
`problems` names the conflict.

The cost of a change is that of the Services it affects. A Node affects none, except when the zone of this node changes:
that affects the Services whose endpoints have hints for zones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from socklb.api.addresses import Network
from socklb.api.objects import EndpointSlice, Service
from socklb.api.source import Problem
from socklb.desired.endpoints import Place
from socklb.desired.service_plan import NOTHING, ServicePlan, Surroundings, depends_on_zone, plan_node, plan_service
from socklb.desired.store import Affected, ObjectStore, put
from socklb.desired.unserved import orphans
from socklb.errors import reason
from socklb.model import (
    ANY4,
    ANY6,
    Addresses,
    Backend,
    Difference,
    Frontend,
    Serving,
    frontend_text,
    is_ipv4,
    is_loopback,
)


class DesiredState(NamedTuple):
    """Everything that should be in the kernel."""

    frontends: dict[Frontend, Serving]
    addresses: Addresses


class Plan:
    """The plans of all Services and Nodes, and which Service holds which frontend."""

    def __init__(
        self, node: str, *, external_ips: Iterable[str] = (), controllers: bool = False, counted: bool = True
    ) -> None:
        """Begin empty, for the node of this name. externalIPs are served in the networks of `external_ips`.

        controllers: Kubernetes controllers are running, so objects that they have not cleaned up yet are not a problem.
        counted: whether this node can count connections, for the least-loaded choice.
        """
        self._controllers = controllers
        self._on_zone: set[str] = set()  # Services that depend on this node's zone
        self.services: dict[str, ServicePlan] = {}
        self.nodes: dict[str, frozenset[bytes]] = {}  # addresses by name
        self._around = Surroundings(Place(node), tuple(map(Network.parse, external_ips)), counted)
        self._claims: dict[Frontend, tuple[str, ...]] = {}  # Services that claim it; the first one holds it
        self._contested: set[Frontend] = set()
        self._problems: dict[str, tuple[Problem, ...]] = {}  # by Service
        self._addresses: Counter[bytes] = Counter()  # how many Services have each
        self._node_addresses: Counter[bytes] = Counter()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Return what Services ask for and do not get, because of the configuration or because another Service holds
        it.
        """
        own = (problem for _, problems in sorted(self._problems.items()) for problem in problems)
        return (*own, *self._contests())

    @property
    def here(self) -> Place:
        """Where this node is."""
        return self._around.here

    def full(self) -> DesiredState:
        """Return everything, to be compared with what the kernel holds at start."""
        return DesiredState(
            {frontend: self.services[first].frontends[frontend] for frontend, (first, *_) in self._claims.items()},
            Addresses(frozenset(self._addresses), frozenset(self._node_addresses), self._own),
        )

    def update(self, state: ObjectStore, affected: Affected) -> Difference:
        """Plan the affected Services and Nodes again and return the difference."""
        own = self._own
        moved_nodes = self._update_nodes(state, affected.nodes)
        zone_matters = self._update_zone(state)
        before: dict[Frontend, Serving | None] = {}
        came: list[bytes] = []
        went: list[bytes] = []
        # Sorted, so that the same Service wins a conflict after every restart.
        for key in sorted(affected.services | zone_matters):
            new = self._plan(key, state)
            old = self.services.get(key, NOTHING)
            for frontend in _touched(old, new):
                if frontend not in before:
                    before[frontend] = self._serving(frontend)
            self._exchange(key, old, new)
            came += new.addresses - old.addresses
            went += old.addresses - new.addresses
        moved = Counter(came)
        moved.subtract(went)
        after = {frontend: self._serving(frontend) for frontend in before}
        return Difference(
            {f: now for f, now in after.items() if now is not None and now != before[f]},
            frozenset(f for f, now in after.items() if now is None and before[f] is not None),
            *self._moved_addresses(moved, moved_nodes, own),
        )

    @property
    def _own(self) -> frozenset[bytes]:
        return self.nodes.get(self._around.here.node, frozenset())

    def _moved_addresses(
        self, services: Counter[bytes], nodes: Counter[bytes], own_before: frozenset[bytes]
    ) -> tuple[Addresses, Addresses]:
        """Return the addresses that were added and those that were removed."""
        new_services, old_services = _recount(self._addresses, services)
        new_nodes, old_nodes = _recount(self._node_addresses, nodes)
        return (
            Addresses(new_services, new_nodes, self._own - own_before),
            Addresses(old_services, old_nodes, own_before - self._own),
        )

    def holder(self, frontend: Frontend) -> str | None:
        """Return the Service that holds a frontend, whichever others claim it."""
        claims = self._claims.get(frontend)
        return claims[0] if claims else None

    def service_at(self, asked: Backend, protocol: int) -> str | None:
        """Return the Service that an address and port belong to, as its own or as a NodePort. Threads may call this."""
        frontend = Frontend(*asked, protocol)
        if (found := self.holder(frontend)) or not self._is_nodes(asked.address):
            return found
        return self.holder(frontend._replace(address=ANY4 if is_ipv4(asked.address) else ANY6))

    def _is_nodes(self, address: bytes) -> bool:
        return address in self._node_addresses or is_loopback(address)

    def _serving(self, frontend: Frontend) -> Serving | None:
        holder = self.holder(frontend)
        return None if holder is None else self.services[holder].frontends[frontend]

    def _contests(self) -> Iterator[Problem]:
        for frontend in sorted(self._contested):
            holder, *losers = self._claims[frontend]
            for loser in losers:
                message = f"{frontend_text(frontend)} belongs to Service {holder}"
                yield Problem("", 0, "spec.ports", message, f"Service/{loser}")

    def _exchange(self, key: str, old: ServicePlan, new: ServicePlan) -> None:
        for frontend in old.frontends.keys() - new.frontends.keys():
            self._set_claims(frontend, tuple(k for k in self._claims[frontend] if k != key))
        for frontend in new.frontends.keys() - old.frontends.keys():
            self._set_claims(frontend, (*self._claims.get(frontend, ()), key))
        put(self.services, key, new if new.frontends or new.addresses else None)
        put(self._problems, key, new.problems or None)

    def _set_claims(self, frontend: Frontend, claims: tuple[str, ...]) -> None:
        if claims:
            self._claims[frontend] = claims
        else:
            del self._claims[frontend]
        if len(claims) > 1:
            self._contested.add(frontend)
        else:
            self._contested.discard(frontend)

    def _plan(self, key: str, state: ObjectStore) -> ServicePlan:
        """Plan a Service, and record whether its plan depends on the zone."""
        service, slices = state.services.get(key), state.slices(key)
        if service is not None and depends_on_zone(slices):
            self._on_zone.add(key)
        else:
            self._on_zone.discard(key)
        if service is not None:
            return self._planned(service, slices)
        lost = tuple(orphans(key, slices, controllers=self._controllers))
        return NOTHING._replace(problems=lost) if lost else NOTHING

    def _planned(self, service: Service, slices: tuple[EndpointSlice, ...]) -> ServicePlan:
        """Plan a Service. If that fails, it keeps its previous plan, and no other Service is affected."""
        try:
            return plan_service(service, slices, self._around)
        except Exception as error:  # noqa: BLE001 - of one object among thousands
            text = f"cannot be served: {reason(error)}; what it had is kept"
            problem = Problem("", 0, "", text, f"Service/{service.key}")
            return self.services.get(service.key, NOTHING)._replace(problems=(problem,))

    def _update_nodes(self, state: ObjectStore, names: AbstractSet[str]) -> Counter[bytes]:
        """Take over Nodes; return by how much the use count of each address changes."""
        moved: Counter[bytes] = Counter()
        for name in names:
            node = state.nodes.get(name)
            new = plan_node(node) if node else frozenset[bytes]()
            old = self.nodes.pop(name, frozenset[bytes]())
            if node:
                self.nodes[name] = new
            moved.update(new - old)
            moved.subtract(old - new)
        return moved

    def _update_zone(self, state: ObjectStore) -> AbstractSet[str]:
        """Take over this node's zone; return the Services to plan again."""
        before = self._around.here
        node = state.nodes.get(before.node)
        self._around = self._around._replace(here=Place(before.node, node.zone if node else ""))
        return self._on_zone if self._around.here != before else frozenset[str]()


def _touched(old: ServicePlan, new: ServicePlan) -> Iterator[Frontend]:
    """Return the frontends that may be served differently when `new` replaces `old`."""
    before, after = old.frontends, new.frontends
    return (frontend for frontend in before.keys() | after.keys() if before.get(frontend) != after.get(frontend))


def _recount(counts: Counter[bytes], moved: Counter[bytes]) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """Add `moved` to `counts`; return the addresses that were added and those that were removed."""
    before = counts.keys() & moved.keys()  # there are no zeros in `counts`
    counts.update(moved)
    after = {address for address in moved if counts[address]}
    for address in moved.keys() - after:
        del counts[address]
    return frozenset(after - before), frozenset(before - after)
