"""What one object asks for: a Service its frontends and who answers there, a Node its addresses. Pure.

    plan_service(service, slices, Surroundings(Place("w1", "zone-a"), {"w1": frozenset({address})}))

Where a NodePort is asked for, the policy Cluster takes one frontend for all nodes, Local one for each address of each
node: it is served by that node's own endpoints, whoever asks, and refused where there are none.
SCTP ports, ExternalName and headless Services and those of another proxy have no frontends.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from socklb.api.addresses import parse_address
from socklb.api.objects import EndpointSlice, IPFamily, Node, Service, ServicePort
from socklb.endpoints import Candidate, Place, anywhere, candidates, on_each_node
from socklb.serving import ANY4, ANY6, Backend, Frontend, Serving, is_ipv4

PROTOCOLS = {"TCP": socket.IPPROTO_TCP, "UDP": socket.IPPROTO_UDP}
# kube-proxy leaves Services with one of these labels alone, whatever the value.
OTHERS_LABELS = {"service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"}


class Surroundings(NamedTuple):
    """What a Service's frontends depend on besides its own objects."""

    here: Place
    nodes: Mapping[str, frozenset[bytes]]  # addresses by name


class ServicePlan(NamedTuple):
    """What one Service asks for. `addresses` are its ClusterIPs, whose other ports are refused."""

    frontends: dict[Frontend, Serving]
    addresses: frozenset[bytes]


NOTHING = ServicePlan({}, frozenset())


def plan_service(service: Service, slices: Iterable[EndpointSlice], around: Surroundings) -> ServicePlan:
    """Give the frontends of a Service with their backends, and its ClusterIPs."""
    if service.spec.type == "ExternalName" or not OTHERS_LABELS.isdisjoint(service.metadata.labels):
        return NOTHING
    cluster_ips = [parse_address(ip) for ip in service.spec.cluster_ips]
    frontends: dict[Frontend, Serving] = {}
    for port in service.spec.ports:
        if port.protocol in PROTOCOLS:
            for family in ("IPv4", "IPv6"):
                offered = candidates(port, family, slices)
                frontends.update(_inside(service, port, _of_family(family, cluster_ips), offered, around.here))
                if _has_node_port(service, port, family, cluster_ips):
                    frontends.update(_outside(service, port, family, offered, around))
    return ServicePlan(frontends, frozenset(cluster_ips))


def plan_node(node: Node) -> frozenset[bytes]:
    """Give the addresses on which a Node's NodePorts are asked for."""
    usable = (a for a in node.status.addresses if a.type in {"InternalIP", "ExternalIP"})
    return frozenset(parse_address(a.address) for a in usable)


def depends_on_nodes(service: Service) -> bool:
    """Whether the addresses of Nodes decide about the Service's frontends."""
    return service.spec.type in {"NodePort", "LoadBalancer"} and service.spec.externalTrafficPolicy == "Local"


def depends_on_zone(slices: Iterable[EndpointSlice]) -> bool:
    """Whether this node's zone decides about the backends."""
    return any(endpoint.hints.forZones for slice_ in slices for endpoint in slice_.endpoints)


def _inside(
    service: Service, port: ServicePort, cluster_ips: Sequence[bytes], offered: Sequence[Candidate], here: Place
) -> dict[Frontend, Serving]:
    """Give the frontends at ClusterIPs."""
    if not cluster_ips:
        return {}
    local = service.spec.internalTrafficPolicy == "Local"
    chosen = on_each_node(offered).get(here.node, ()) if local else anywhere(offered, here)
    return {Frontend(address, port.port, PROTOCOLS[port.protocol]): Serving(chosen) for address in cluster_ips}


def _has_node_port(service: Service, port: ServicePort, family: IPFamily, cluster_ips: Sequence[bytes]) -> bool:
    # An object from the API server has ipFamilies; one written by hand may leave them out.
    families = service.spec.ipFamilies or [_family(ip) for ip in cluster_ips] or ["IPv4"]
    return bool(port.nodePort) and service.spec.type in {"NodePort", "LoadBalancer"} and family in families


def _outside(
    service: Service, port: ServicePort, family: IPFamily, offered: Sequence[Candidate], around: Surroundings
) -> dict[Frontend, Serving]:
    """Give the frontends of a NodePort."""
    protocol = PROTOCOLS[port.protocol]
    if not depends_on_nodes(service):
        any_address = ANY4 if family == "IPv4" else ANY6
        return {Frontend(any_address, port.nodePort, protocol): Serving(anywhere(offered, around.here))}
    chosen = _at_addresses(on_each_node(offered), around.nodes)
    return {
        Frontend(address, port.nodePort, protocol): Serving(chosen[address]) for address in _of_family(family, chosen)
    }


def _at_addresses(
    chosen: Mapping[str, tuple[Backend, ...]], nodes: Mapping[str, frozenset[bytes]]
) -> dict[bytes, tuple[Backend, ...]]:
    """Give what was chosen on each node by the nodes' addresses; where a node takes over another's, both count."""
    found: dict[bytes, tuple[Backend, ...]] = {}
    for node, addresses in nodes.items():
        for address in addresses:
            found[address] = tuple(sorted({*found.get(address, ()), *chosen.get(node, ())}))
    return found


def _of_family(family: IPFamily, addresses: Iterable[bytes]) -> list[bytes]:
    return [address for address in addresses if _family(address) == family]


def _family(address: bytes) -> IPFamily:
    return "IPv4" if is_ipv4(address) else "IPv6"
