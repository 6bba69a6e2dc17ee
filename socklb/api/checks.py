"""Checks that types cannot express: addresses that are not addresses, duplicate ports.

    check(found)

Raises ObjectError with the path of the first field that would mislead the agent.
"""

from __future__ import annotations

from collections.abc import Iterable

from socklb.api.addresses import Network, parse_address
from socklb.api.objects import EndpointSlice, Namespace, Node, Object, Pod, Service, ServiceCIDR, ServicePort
from socklb.errors import SocklbError
from socklb.model import ANY4, ANY6, is_ipv4


class ObjectError(SocklbError):
    """One field of one object is not usable; `field` is its path, such as `spec.ports[0].port`."""

    def __init__(self, field: str, message: str, *, value: object = None, valid: str = "") -> None:
        super().__init__(message, value=value, valid=valid)
        self.field = field


def check(found: Object) -> None:
    """Refuse an object that would mislead the agent.

    Raises:
        ObjectError: a field is not usable.
    """
    match found:
        case Service():
            _check_service(found)
        case EndpointSlice():
            _check_slice(found)
        case Node():
            for i, address in enumerate(found.status.addresses):
                if address.type in {"InternalIP", "ExternalIP"}:
                    _check_address(f"status.addresses[{i}].address", address.address)
            for i, cidr in enumerate(found.spec.podCIDRs):
                _check_network(f"spec.podCIDRs[{i}]", cidr)
        case ServiceCIDR():
            for i, text in enumerate(found.spec.cidrs):
                _check_network(f"spec.cidrs[{i}]", text)
        case Pod() | Namespace():
            pass


def _check_service(service: Service) -> None:
    for field, ip in _service_addresses(service):
        if _check_address(field, ip) in {ANY4, ANY6}:  # the tables use these for NodePorts
            raise ObjectError(field, "stands for every address", value=ip, valid="one address")
    for i, text in enumerate(service.spec.loadBalancerSourceRanges):
        _check_network(f"spec.loadBalancerSourceRanges[{i}]", text)
    if not service.spec.ports and service.spec.cluster_ips:
        raise ObjectError("spec.ports", "missing", valid="at least one port")
    _check_ports(service.spec.ports)


def _service_addresses(service: Service) -> Iterable[tuple[str, str]]:
    """Yield the addresses of a Service with the path of their fields."""
    spec = service.spec
    if spec.clusterIPs:
        yield from ((f"spec.clusterIPs[{i}]", ip) for i, ip in enumerate(spec.clusterIPs) if ip in spec.cluster_ips)
    else:
        yield from (("spec.clusterIP", ip) for ip in spec.cluster_ips)
    yield from ((f"spec.externalIPs[{i}]", ip) for i, ip in enumerate(spec.externalIPs))
    ingress = enumerate(service.status.loadBalancer.ingress)
    yield from ((f"status.loadBalancer.ingress[{i}].ip", one.ip) for i, one in ingress if one.ip)


def _check_ports(ports: Iterable[ServicePort]) -> None:
    seen: set[tuple[str, int, str]] = set()
    for i, port in enumerate(ports):
        for field, number in (("port", port.port), ("nodePort", port.nodePort)):
            if (field, number, port.protocol) in seen:
                raise ObjectError(f"spec.ports[{i}].{field}", "twice in this Service", value=number)
            if number:
                seen.add((field, number, port.protocol))


def _check_slice(slice_: EndpointSlice) -> None:
    if slice_.addressType == "FQDN":
        return
    for i, endpoint in enumerate(slice_.endpoints):
        for j, text in enumerate(endpoint.addresses):
            field = f"endpoints[{i}].addresses[{j}]"
            if is_ipv4(_check_address(field, text)) != (slice_.addressType == "IPv4"):
                raise ObjectError(field, "not of addressType", value=text, valid=f"an {slice_.addressType} address")


def _check_address(field: str, text: str) -> bytes:
    try:
        return parse_address(text)
    except ValueError:
        raise ObjectError(field, "no address", value=text, valid="an IPv4 or IPv6 address") from None


def _check_network(field: str, text: str) -> None:
    try:
        Network.parse(text)
    except ValueError:
        raise ObjectError(field, "no CIDR", value=text, valid="a network, as in 10.0.0.0/8") from None
