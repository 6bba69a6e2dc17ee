"""Services and EndpointSlices as from the Kubernetes API, decoded as by the agent.

    state.apply(changes(10_000, endpoints=4))

A Service has one TCP port; its endpoints are on 1,000 nodes in three zones. The objects share nothing except what
decoding shares.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator

import msgspec

from socklb.api.objects import EndpointSlice, Service
from socklb.api.source import Change

FIRST_SERVICE = int(ipaddress.IPv4Address("10.96.0.10"))
FIRST_POD = int(ipaddress.IPv4Address("10.128.0.1"))
NODES = 1000

_service = msgspec.json.Decoder(Service)
_slice = msgspec.json.Decoder(EndpointSlice)


def changes(count: int, endpoints: int) -> tuple[Change, ...]:
    """Return the first batch of a cluster with this many Services and endpoints of each."""
    return tuple(change for number in range(count) for change in _objects(number, endpoints))


def moved(number: int, endpoints: int, generation: int) -> Change:
    """Return a Service's EndpointSlice after its first endpoint was replaced."""
    raw = endpoint_slice(number, endpoints, generation)
    return Change("EndpointSlice", f"{namespace(number)}/svc-{number}-1", _slice.decode(raw))


def _objects(number: int, endpoints: int) -> Iterator[Change]:
    yield Change("Service", f"{namespace(number)}/svc-{number}", _service.decode(service(number)))
    yield moved(number, endpoints, 0)


def namespace(number: int) -> str:
    """Return the namespace of a Service: there are 50."""
    return f"team-{number % 50}"


def service(number: int) -> bytes:
    """Return a Service as JSON."""
    ip = str(ipaddress.IPv4Address(FIRST_SERVICE + number))
    return _json(
        "v1",
        "Service",
        {"name": f"svc-{number}", "namespace": namespace(number), "labels": {"app": f"svc-{number}"}},
        spec={
            "type": "ClusterIP",
            "clusterIP": ip,
            "clusterIPs": [ip],
            "ipFamilies": ["IPv4"],
            "internalTrafficPolicy": "Cluster",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}],
            "selector": {"app": f"svc-{number}"},
        },
    )


def endpoint_slice(number: int, endpoints: int, generation: int) -> bytes:
    """Return its EndpointSlice as JSON; each generation has another first endpoint."""
    first = FIRST_POD + number * endpoints
    addresses = [first + i for i in range(endpoints)]
    if generation:
        addresses[0] = FIRST_POD + (1 << 21) + generation
    return _json(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        {
            "name": f"svc-{number}-1",
            "namespace": namespace(number),
            "generation": generation + 1,
            "labels": {
                "app": f"svc-{number}",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "kubernetes.io/service-name": f"svc-{number}",
            },
        },
        addressType="IPv4",
        endpoints=[
            {
                "addresses": [str(ipaddress.IPv4Address(address))],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": f"node-{address % NODES}",
                "zone": f"zone-{address % 3}",
            }
            for address in addresses
        ],
        ports=[{"name": "http", "port": 8080, "protocol": "TCP"}],
    )


def _json(version: str, kind: str, metadata: dict[str, object], **rest: object) -> bytes:
    return json.dumps({"apiVersion": version, "kind": kind, "metadata": metadata, **rest}).encode()
