"""Why an existing object serves nothing, in one line each. Pure.

    unoffered(service, index, "IPv4", slices)   no endpoint can be behind this port
    unasked(service, served=False)              no client can reach it, or not at nodes
    orphans("default/web", slices)              EndpointSlices without a Service

What is only incomplete yet is not a problem: a Service without EndpointSlices, EndpointSlices without endpoints.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from socklb.api.marks import MANAGED_BY, SERVICE_NAME
from socklb.api.objects import EndpointPort, EndpointSlice, IPFamily, Service
from socklb.api.source import Problem
from socklb.errors import SocklbError

# These delete their slices themselves, a while after the Service was deleted.
CONTROLLERS = {"endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"}
NAMED = 8  # ports that one line names


def unoffered(service: Service, index: int, family: IPFamily, slices: Collection[EndpointSlice]) -> Iterator[Problem]:
    """Yield why none of the existing endpoints can serve a port. Called only if none does."""
    with_endpoints = [slice_ for slice_ in slices if slice_.endpoints]
    ports = [port for slice_ in with_endpoints if slice_.addressType == family for port in slice_.ports]
    if any(slice_.addressType == family for slice_ in with_endpoints):
        yield _problem(service, f"spec.ports[{index}].name", _no_such_port(service, index, ports))
    elif with_endpoints and all(slice_.addressType != family for slice_ in slices):
        present = ", ".join(sorted({slice_.addressType for slice_ in with_endpoints}))
        error = SocklbError(f"none of its EndpointSlices has addressType {family}, so it is refused", value=present)
        yield _problem(service, "spec.ipFamilies", error)


def unasked(service: Service, *, served: bool) -> Iterator[Problem]:
    """Yield what a Service lacks that an API server would have filled in."""
    spec = service.spec
    if not served and not spec.cluster_ips:
        hint = "choose an address: only an API server does that by itself"
        error = SocklbError("missing, so nothing is served", valid="an address; None: headless", hint=hint)
        yield _problem(service, "spec.clusterIP", error)
    if spec.type == "NodePort" or (spec.type == "LoadBalancer" and spec.allocateLoadBalancerNodePorts):
        without = [i for i, port in enumerate(spec.ports) if not port.nodePort]
        if without:
            numbers = ", ".join(str(spec.ports[i].port) for i in without[:NAMED])
            hint = "choose a number: only an API server does that by itself"
            error = SocklbError(f"missing, so port {numbers} is not served at nodes", valid="1 to 65535", hint=hint)
            yield _problem(service, f"spec.ports[{without[0]}].nodePort", error)


def orphans(service: str, slices: Iterable[EndpointSlice], *, controllers: bool) -> Iterator[Problem]:
    """Yield a problem for EndpointSlices whose Service does not exist. `controllers`: skip those that a controller
    manages.
    """
    for slice_ in slices:
        if controllers and slice_.metadata.labels.get(MANAGED_BY) in CONTROLLERS:
            continue
        field, told = f"metadata.labels[{SERVICE_NAME}]", "so it serves nobody"
        if slice_.service is None:
            error = SocklbError(f"missing, {told}", valid="the name of its Service")
        else:
            error = SocklbError(f"Service {service} is not there, {told}")
        yield Problem("", 0, field, str(error), f"EndpointSlice/{slice_.key}")


def _no_such_port(service: Service, index: int, ports: Collection[EndpointPort]) -> SocklbError:
    port = service.spec.ports[index]
    same_name = [one for one in ports if one.name == port.name]
    refused = "so it is refused"
    if not ports:
        return SocklbError(f"its EndpointSlices have no port, {refused}", valid=f"one named {port.name!r}")
    if not same_name:
        names = ", ".join(sorted({repr(one.name) for one in ports})[:NAMED])
        return SocklbError(f"no port of its EndpointSlices is named {port.name!r}, {refused}", valid=names)
    if all(one.protocol != port.protocol for one in same_name):
        found = ", ".join(sorted({one.protocol for one in same_name}))
        return SocklbError(f"the port of its EndpointSlices named {port.name!r} is not {port.protocol}", value=found)
    return SocklbError(f"the port of its EndpointSlices named {port.name!r} has no number, {refused}")


def _problem(service: Service, field: str, error: SocklbError) -> Problem:
    return Problem("", 0, field, str(error), f"Service/{service.key}")
