"""Who may serve a Service port: the backends that its EndpointSlices offer. Pure.

As kube-proxy does it (pkg/proxy/endpointslicecache.go): a slice's port is the Service's when name and protocol are
the same; its number may differ from slice to slice (a named targetPort); of an endpoint's addresses the first
counts. A slice port without a number and an FQDN slice serve nothing.
Not here yet: terminating endpoints, traffic policies, topology.
"""

from __future__ import annotations

from collections.abc import Iterable

from socklb.api.addresses import parse_address
from socklb.api.objects import EndpointSlice, IPFamily, ServicePort
from socklb.datapath.layout import Backend


def backends(port: ServicePort, family: IPFamily, slices: Iterable[EndpointSlice]) -> tuple[Backend, ...]:
    """Give the backends of one Service port in one address family, each once, in an order that stays.

    The order does not depend on that of slices and endpoints: a controller that only deals endpoints out anew to
    its slices changes nothing.
    """
    found = {
        Backend(parse_address(endpoint.addresses[0]), number)
        for slice_ in slices
        if slice_.addressType == family
        for number in _numbers(port, slice_)
        for endpoint in slice_.endpoints
        if endpoint.conditions.ready
    }
    return tuple(sorted(found))


def _numbers(port: ServicePort, slice_: EndpointSlice) -> list[int]:
    return [p.port for p in slice_.ports if p.port and (p.name, p.protocol) == (port.name, port.protocol)]
