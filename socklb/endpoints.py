"""Who may serve a Service port: the backends that its EndpointSlices offer. Pure.

    offered = candidates(port, "IPv4", slices)
    anywhere(offered, here), on_each_node(offered)

As kube-proxy does it (pkg/proxy/endpointslicecache.go, topology.go): a slice's port is the Service's when name and
protocol are the same; its number may differ from slice to slice (a named targetPort); of an endpoint's addresses the
first counts. A slice port without a number and an FQDN slice serve nothing.

Ready endpoints serve. Where there is none, those that terminate and still serve do, until others are ready (KEP-1669).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import starmap
from typing import NamedTuple

from socklb.api.addresses import parse_address
from socklb.api.objects import Endpoint, EndpointHints, EndpointSlice, Hint, IPFamily, ServicePort
from socklb.serving import Backend

NO_HINTS = EndpointHints()


class Place(NamedTuple):
    """Where a node is: its name, and its zone if it says one."""

    node: str
    zone: str = ""


Candidate = tuple[Endpoint, int]  # and its number for one Service port; plain, for there are a million at the start


def candidates(port: ServicePort, family: IPFamily, slices: Iterable[EndpointSlice]) -> list[Candidate]:
    """Give what the slices offer for one Service port in one address family, in whatever condition it is."""
    return [
        (endpoint, number)
        for slice_ in slices
        if slice_.addressType == family
        for number in _numbers(port, slice_)
        for endpoint in slice_.endpoints
    ]


def anywhere(offered: Sequence[Candidate], here: Place) -> tuple[Backend, ...]:
    """Choose in the whole cluster, near to `here` if the hints ask for it: the policy Cluster."""
    return _backends(_near(_ready(offered), here) or _serving_to_the_end(offered))


def on_each_node(offered: Sequence[Candidate]) -> dict[str, tuple[Backend, ...]]:
    """Choose on each node for itself, whatever the hints: the policy Local. Nodes where nobody serves are left out."""
    by_node: defaultdict[str, list[Candidate]] = defaultdict(list)
    for candidate in offered:
        by_node[candidate[0].nodeName].append(candidate)
    chosen = {node: _backends(_ready(its_own) or _serving_to_the_end(its_own)) for node, its_own in by_node.items()}
    return {node: backends for node, backends in chosen.items() if backends}


def _numbers(port: ServicePort, slice_: EndpointSlice) -> list[int]:
    name, protocol = port.name, port.protocol
    return [p.port for p in slice_.ports if p.port and p.name == name and p.protocol == protocol]


def _ready(offered: Sequence[Candidate]) -> Sequence[Candidate]:
    return [candidate for candidate in offered if candidate[0].conditions.ready]


def _serving_to_the_end(offered: Sequence[Candidate]) -> Sequence[Candidate]:
    return [candidate for candidate in offered if candidate[0].conditions.serving_to_the_end]


def _near(ready: Sequence[Candidate], here: Place) -> Sequence[Candidate]:
    """Give those that hints mean for this node, else for its zone, else all.

    Hints of one kind count only when every ready endpoint has some and one at least is for us: otherwise they are being
    written just now, or there is nothing near. What trafficDistribution says is for the controller that writes them.
    """
    if not ready or ready[0][0].hints == NO_HINTS:  # most Services have none
        return ready
    for_us = _meant_for(here.node, ready, lambda hints: hints.forNodes)
    return for_us or _meant_for(here.zone, ready, lambda hints: hints.forZones) or ready


def _meant_for(
    name: str, ready: Sequence[Candidate], kind: Callable[[EndpointHints], tuple[Hint, ...]]
) -> Sequence[Candidate]:
    if not all(kind(endpoint.hints) for endpoint, _ in ready):
        return ()
    return [candidate for candidate in ready if any(hint.name == name for hint in kind(candidate[0].hints))]


def _backends(chosen: Iterable[Candidate]) -> tuple[Backend, ...]:
    """Give each backend once, in an order that does not depend on that of slices and endpoints.

    A controller that only deals endpoints out anew to its slices changes nothing.
    """
    found = {(parse_address(endpoint.addresses[0]), number) for endpoint, number in chosen}
    return tuple(starmap(Backend, sorted(found)))
