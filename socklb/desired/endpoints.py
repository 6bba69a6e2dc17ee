"""Which backends a Service port has, from its EndpointSlices. Pure.

    offered = candidates(port, "IPv4", slices)
    anywhere(offered, here), on_this_node(offered, here)

The rules are kube-proxy's (pkg/proxy/endpointslicecache.go, topology.go): a slice's port belongs to the Service's port
if name and protocol are the same; its number may differ from slice to slice (a named targetPort). Only the first
address of an endpoint counts. A slice port without a number and a slice of type FQDN serve nothing.

Ready endpoints serve. If none is ready, endpoints that are terminating but still serving do, until others are ready
(KEP-1669).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain, repeat
from typing import NamedTuple

from socklb.api.addresses import parse_addresses
from socklb.api.objects import Endpoint, EndpointHints, EndpointSlice, Hint, IPFamily, ServicePort
from socklb.model import Backend

NO_HINTS = EndpointHints()
# Backend._make() without a Python frame: a million backends are made at the start.
_new_backend: Callable[[tuple[bytes, int]], Backend] = partial(tuple.__new__, Backend)  # pyright: ignore[reportUnknownMemberType]


class Place(NamedTuple):
    """Where a node is: its name, and its zone if it has one."""

    node: str
    zone: str = ""


Offer = tuple[int, Sequence[Endpoint]]  # a port number and its endpoints, at least one


def candidates(port: ServicePort, family: IPFamily, slices: Iterable[EndpointSlice]) -> list[Offer]:
    """Return the endpoints for one Service port in one address family, whatever their conditions."""
    return [
        (number, slice_.endpoints)
        for slice_ in slices
        if slice_.addressType == family and slice_.endpoints
        for number in _numbers(port, slice_)
    ]


def anywhere(offered: Sequence[Offer], here: Place) -> tuple[Backend, ...]:
    """Choose from the whole cluster, or near `here` if the hints say so: policy Cluster."""
    return _backends(_near(_ready(offered), here) or _serving_to_the_end(offered))


def on_this_node(offered: Sequence[Offer], here: Place) -> tuple[Backend, ...]:
    """Choose from this node only, ignoring the hints: policy Local."""
    node = here.node
    own = [(n, found) for n, endpoints in offered if (found := [e for e in endpoints if e.nodeName == node])]
    return _backends(_ready(own) or _serving_to_the_end(own))


def listens(offered: Iterable[Offer], backend: Backend) -> bool:
    """Return whether the backend is an endpoint, whatever its conditions: a server may listen before it is ready."""
    there = (endpoints for number, endpoints in offered if number == backend.port)
    return any(backend.address in parse_addresses([one.addresses[0] for one in endpoints]) for endpoints in there)


def conditions(slices: Iterable[EndpointSlice]) -> dict[Backend, str]:
    """Return the condition of each address and port of the endpoints: ready, terminating, or not ready."""
    found: dict[Backend, str] = {}
    for slice_ in slices:
        if slice_.addressType == "FQDN":
            continue
        addresses = parse_addresses([endpoint.addresses[0] for endpoint in slice_.endpoints])
        for endpoint, address in zip(slice_.endpoints, addresses, strict=True):
            now = endpoint.conditions
            said = "terminating" if now.terminating else "ready" if now.ready else "not ready"
            found.update((Backend(address, port.port), said) for port in slice_.ports if port.port)
    return found


def _numbers(port: ServicePort, slice_: EndpointSlice) -> list[int]:
    name, protocol = port.name, port.protocol
    return [p.port for p in slice_.ports if p.port and p.name == name and p.protocol == protocol]


def _ready(offered: Sequence[Offer]) -> Sequence[Offer]:
    return [(n, ready) for n, endpoints in offered if (ready := [e for e in endpoints if e.conditions.ready])]


def _serving_to_the_end(offered: Sequence[Offer]) -> Sequence[Offer]:
    return _those(lambda endpoint: endpoint.conditions.serving_to_the_end, offered)


def _near(ready: Sequence[Offer], here: Place) -> Sequence[Offer]:
    """Return the endpoints that hints assign to this node, else those for its zone, else all.

    Hints of one kind count only if every ready endpoint has some and at least one names this node or zone: otherwise
    they are just being written, or nothing is near. trafficDistribution is for the controller that writes the hints.
    """
    if not ready or ready[0][1][0].hints == NO_HINTS:  # most Services have none
        return ready
    for_us = _meant_for(here.node, ready, lambda hints: hints.forNodes)
    return for_us or _meant_for(here.zone, ready, lambda hints: hints.forZones) or ready


def _meant_for(name: str, ready: Sequence[Offer], kind: Callable[[EndpointHints], tuple[Hint, ...]]) -> Sequence[Offer]:
    if not all(kind(endpoint.hints) for _, endpoints in ready for endpoint in endpoints):
        return ()
    return _those(lambda endpoint: any(hint.name == name for hint in kind(endpoint.hints)), ready)


def _those(wanted: Callable[[Endpoint], bool], offered: Sequence[Offer]) -> Sequence[Offer]:
    return [(n, found) for n, endpoints in offered if (found := list(filter(wanted, endpoints)))]


def _backends(chosen: Iterable[Offer]) -> tuple[Backend, ...]:
    """Return each backend once, in an order that does not depend on the order of slices and endpoints.

    So a controller that only redistributes endpoints over its slices causes no change.
    """
    found: defaultdict[int, list[bytes]] = defaultdict(list)
    for number, endpoints in chosen:
        found[number] += parse_addresses([endpoint.addresses[0] for endpoint in endpoints])
    # Sorting addresses alone takes half the time, and most Services have one port number.
    places = [zip(dict.fromkeys(sorted(addresses)), repeat(number)) for number, addresses in found.items()]
    return tuple(map(_new_backend, places[0] if len(places) == 1 else sorted(chain.from_iterable(places))))
