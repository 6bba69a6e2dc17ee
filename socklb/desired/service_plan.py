"""What one object asks for: a Service its frontends and how each is served, a Node its addresses. Pure.

    plan_service(service, slices, Surroundings(Place("w1", "zone-a")))

A NodePort has one frontend for all nodes. With externalTrafficPolicy Local that frontend is for this node only, and a
connection to another node's address is left alone: that node knows its own endpoints.

ExternalName and headless Services, and those of another proxy, have no frontends. loadBalancerClass says who assigns a
Service its address, not who serves it on the node, so it is ignored here, as in kube-proxy.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from socklb.api.addresses import Network, parse_address
from socklb.api.marks import OTHERS
from socklb.api.objects import EndpointSlice, Node, Service, ServicePort
from socklb.api.source import Problem
from socklb.desired.annotations import annotation_problems, is_least_loaded
from socklb.desired.endpoints import Offer, Place, anywhere, candidates, listens, on_this_node
from socklb.desired.service_addresses import ServiceAddresses, addresses_of, refused_external_ips
from socklb.desired.unserved import unasked, unoffered
from socklb.model import ANY4, ANY6, Backend, Frontend, Serving

PROTOCOLS = {"TCP": socket.IPPROTO_TCP, "UDP": socket.IPPROTO_UDP, "SCTP": socket.IPPROTO_SCTP}
ANY = {"IPv4": ANY4, "IPv6": ANY6}


class Surroundings(NamedTuple):
    """What a Service's frontends depend on besides its own objects."""

    here: Place
    external_ips: tuple[Network, ...] = ()  # where externalIPs are served
    counted: bool = True  # whether connections can be counted, for the least-loaded choice


class ServicePlan(NamedTuple):
    """What one Service asks for. `addresses` are its ClusterIPs, whose other ports are refused."""

    frontends: dict[Frontend, Serving]
    addresses: frozenset[bytes]
    problems: tuple[Problem, ...] = ()


NOTHING = ServicePlan({}, frozenset())


def plan_service(service: Service, slices: Collection[EndpointSlice], around: Surroundings) -> ServicePlan:
    """Return the frontends of a Service, how each is served, its ClusterIPs, and what is not served."""
    spec = service.spec
    if spec.type == "ExternalName" or spec.headless or not OTHERS.isdisjoint(service.metadata.labels):
        return NOTHING
    frontends: dict[Frontend, Serving] = {}
    addresses: list[bytes] = []
    nobody: dict[Problem, None] = {}  # a problem that both families have is reported once
    for asked in addresses_of(service, around.external_ips):
        addresses += asked.cluster_ips
        for i, port in enumerate(spec.ports):
            offered = candidates(port, asked.family, slices)
            frontends.update(_serve(service, port, asked, offered, around))
            if slices and not offered:
                nobody.update(dict.fromkeys(unoffered(service, i, asked.family, slices)))
    problems = (
        *refused_external_ips(service, around.external_ips),
        *annotation_problems(service, counted=around.counted),
        *unasked(service, served=bool(frontends)),
        *nobody,
    )
    return ServicePlan(frontends, frozenset(addresses), problems)


def plan_node(node: Node) -> frozenset[bytes]:
    """Return the addresses of a Node at which NodePorts are served."""
    usable = (a for a in node.status.addresses if a.type in {"InternalIP", "ExternalIP"})
    return frozenset(parse_address(a.address) for a in usable)


def depends_on_zone(slices: Iterable[EndpointSlice]) -> bool:
    """Return whether this node's zone may matter for the backends: hints count if every ready endpoint has them."""
    for slice_ in slices:
        for endpoint in slice_.endpoints:
            if endpoint.conditions.ready:
                if endpoint.hints.forZones:
                    return True
                break
    return False


def _serve(
    service: Service, port: ServicePort, asked: ServiceAddresses, offered: list[Offer], around: Surroundings
) -> Iterator[tuple[Frontend, Serving]]:
    """Yield the frontends of one port in one address family."""
    spec, protocol = service.spec, PROTOCOLS[port.protocol]
    everywhere = Serving(anywhere(offered, around.here), spec.affinity_seconds, is_least_loaded(service))
    local = "Local" in (spec.internalTrafficPolicy, spec.externalTrafficPolicy)
    own = on_this_node(offered, around.here) if local else ()
    inside = everywhere._replace(backends=own) if spec.internalTrafficPolicy == "Local" else everywhere
    for ip in asked.cluster_ips:
        yield Frontend(ip, port.port, protocol), inside
    if asked.outside:
        outside = everywhere._replace(outside=own) if spec.externalTrafficPolicy == "Local" else everywhere
        at_ingress = outside._replace(sources=asked.sources)
        for ips, serving in ((asked.external_ips, outside), (asked.ingress, at_ingress)):
            for ip in ips:
                itself = listens(offered, Backend(ip, port.port))
                yield Frontend(ip, port.port, protocol), serving._replace(may_be_bound=itself)
        if asked.node_ports and port.nodePort:
            itself = any(number == port.nodePort for number, _ in offered)
            here = outside._replace(own_node_only=outside.outside is not None, may_be_bound=itself)
            yield Frontend(ANY[asked.family], port.nodePort, protocol), here
