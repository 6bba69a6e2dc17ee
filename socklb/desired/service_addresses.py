"""The addresses of a Service, by family and kind. Pure.

    for asked in addresses_of(service, allowed): …

externalIPs count only in the networks that the configuration allows: otherwise anyone who may create a Service could
redirect traffic for any address to their own pods (CVE-2020-8554). `refused_external_ips` names the others.

An ingress address with ipMode Proxy belongs to a load balancer that wants to see the traffic itself, and is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from socklb.api.addresses import Network, parse_address
from socklb.api.objects import IPFamily, Service
from socklb.api.source import Problem
from socklb.config_file import DEFAULT_PATH
from socklb.errors import SocklbError
from socklb.model import is_ipv4


class ServiceAddresses(NamedTuple):
    """The addresses of a Service in one address family.

    node_ports: whether it is served at the addresses of nodes too, where a port has a nodePort.
    sources: the only networks that clients of ingress addresses may come from; None: from everywhere.
    """

    family: IPFamily
    cluster_ips: Sequence[bytes]
    node_ports: bool = False
    external_ips: Sequence[bytes] = ()
    ingress: Sequence[bytes] = ()
    sources: tuple[str, ...] | None = None

    @property
    def outside(self) -> bool:
        """Return whether it has anything besides ClusterIPs."""
        return self.node_ports or bool(self.external_ips or self.ingress)


def addresses_of(service: Service, allowed: Sequence[Network]) -> Iterator[ServiceAddresses]:
    """Yield the addresses of a Service, family by family."""
    spec = service.spec
    cluster_ips = [parse_address(ip) for ip in spec.cluster_ips]
    if spec.type == "ClusterIP" and len(cluster_ips) == 1 and not spec.externalIPs:  # most Services
        yield ServiceAddresses(family_of(cluster_ips[0]), cluster_ips)
        return
    external_ips = [ip for text in spec.externalIPs if _is_allowed(ip := parse_address(text), allowed)]
    node_ports = spec.type in {"NodePort", "LoadBalancer"}
    ingress = _ingress(service)
    # An object from the API server has ipFamilies; one written by hand may leave them out.
    said: set[IPFamily] = {*spec.ipFamilies, *map(family_of, cluster_ips)}
    said = said or {family_of(ip) for ip in external_ips + ingress} or {"IPv4"}
    for family in sorted(said):
        yield ServiceAddresses(
            family,
            _of_family(family, cluster_ips),
            node_ports,
            _of_family(family, external_ips),
            _of_family(family, ingress),
            _sources(family, spec.loadBalancerSourceRanges),
        )


def refused_external_ips(service: Service, allowed: Sequence[Network]) -> tuple[Problem, ...]:
    """Return a problem for each externalIP that the configuration does not allow."""
    if not service.spec.externalIPs:
        return ()
    valid = f"an address in {', '.join(map(str, allowed))}" if allowed else ""
    hint = f"add it to external_ips in {DEFAULT_PATH}"
    return tuple(
        Problem("", 0, f"spec.externalIPs[{i}]", str(error), f"Service/{service.key}")
        for i, text in enumerate(service.spec.externalIPs)
        if not _is_allowed(parse_address(text), allowed)
        for error in [SocklbError("not allowed and not served", value=text, valid=valid, hint=hint)]
    )


def family_of(address: bytes) -> IPFamily:
    """Return the address family of an address of 16 bytes."""
    return "IPv4" if is_ipv4(address) else "IPv6"


def _ingress(service: Service) -> list[bytes]:
    if service.spec.type != "LoadBalancer":
        return []
    ingress = service.status.loadBalancer.ingress
    return [parse_address(one.ip) for one in ingress if one.ip and one.ipMode == "VIP"]


def _sources(family: IPFamily, ranges: Iterable[str]) -> tuple[str, ...] | None:
    """Return the ranges of one family; none of this family, though there are ranges: nobody may connect."""
    if not ranges:
        return None
    networks = {Network.parse(text) for text in ranges}
    return tuple(str(network) for network in sorted(networks) if network.is_ipv4 == (family == "IPv4"))


def _of_family(family: IPFamily, addresses: Iterable[bytes]) -> list[bytes]:
    return [address for address in addresses if family_of(address) == family]


def _is_allowed(address: bytes, allowed: Iterable[Network]) -> bool:
    return any(network.has(address) for network in allowed)
