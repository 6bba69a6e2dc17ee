"""Kubernetes objects as a person would write them, for the tests of the pure parts."""

from typing import Any, TypeVar

import yaml

from socklb.api.decode import read_object
from socklb.api.objects import EndpointSlice, Node, Service
from socklb.api.source import Change
from socklb.model import Frontend, Serving, endpoint_text, frontend_text, pack_address

Kind = TypeVar("Kind")


def service(
    name: str = "web", *, metadata: dict[str, Any] | None = None, ingress: tuple[Any, ...] | str = (), **spec: Any
) -> dict[str, Any]:
    """One TCP port 80 on ClusterIP 10.96.0.10, unless said otherwise. `ingress`: a load balancer's, or its address."""
    listed = [{"ip": ingress}] if isinstance(ingress, str) else list(ingress)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, **(metadata or {})},
        "spec": {"clusterIPs": ["10.96.0.10"], "ports": [{"port": 80}], **spec},
        **({"status": {"loadBalancer": {"ingress": listed}}} if listed else {}),
    }


def endpoint_slice(service_name: str = "web", name: str = "", **fields: Any) -> dict[str, Any]:
    """One ready IPv4 endpoint 10.244.1.2 port 8080, unless said otherwise."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name or f"{service_name}-ipv4",
            "labels": {"kubernetes.io/service-name": service_name},
            "generation": fields.pop("generation", 1),
        },
        "addressType": "IPv4",
        "ports": [{"port": 8080}],
        "endpoints": [{"addresses": ["10.244.1.2"]}],
        **fields,
    }


def node(name: str, *addresses: str, kind: str = "InternalIP", zone: str = "") -> dict[str, Any]:
    """A Node with addresses of one type, and the label of its zone."""
    listed = [{"type": kind, "address": address} for address in addresses]
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": {"addresses": listed}}


def endpoint(
    address: str, node: str = "", *, nodes: tuple[str, ...] = (), zones: tuple[str, ...] = (), **conditions: bool
) -> dict[str, Any]:
    """An endpoint on a node, with hints for nodes and zones; ready, unless conditions are given."""
    hints = {
        kind: [{"name": name} for name in names] for kind, names in (("forNodes", nodes), ("forZones", zones)) if names
    }
    said = {"nodeName": node, "hints": hints, "conditions": conditions}
    return {"addresses": [address], **{field: value for field, value in said.items() if value}}


def the_service(name: str = "web", **spec: Any) -> Service:
    return read(service(name, **spec), Service)


def the_slice(service_name: str = "web", name: str = "", **fields: Any) -> EndpointSlice:
    return read(endpoint_slice(service_name, name, **fields), EndpointSlice)


def the_node(name: str, *addresses: str, kind: str = "InternalIP", zone: str = "") -> Node:
    return read(node(name, *addresses, kind=kind, zone=zone), Node)


def read(raw: dict[str, Any], kind: type[Kind]) -> Kind:
    found = read_object(raw)
    assert isinstance(found, kind)
    return found


def present(*objects: Service | EndpointSlice | Node) -> tuple[Change, ...]:
    return tuple(Change(o.kind, o.key, o) for o in objects)


def gone(*objects: Service | EndpointSlice | Node) -> tuple[Change, ...]:
    return tuple(Change(o.kind, o.key, None) for o in objects)


def manifest(*documents: Any) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False)


def readable(frontends: dict[Frontend, Serving]) -> dict[str, list[str]]:
    """`{"10.96.0.10:80/TCP": ["10.244.1.2:8080"]}`; NodePorts stand at 0.0.0.0 and [::]."""
    return {
        frontend_text(frontend): [endpoint_text(backend) for backend in serving.backends]
        for frontend, serving in frontends.items()
    }


def details(frontends: dict[Frontend, Serving]) -> dict[str, dict[str, Any]]:
    """`{"10.96.0.10:80/TCP": {"backends": ["10.244.1.2:8080"], "affinity": 60}}`: all that is not as usual."""
    return {
        frontend_text(frontend): {
            field: [endpoint_text(backend) for backend in value] if field in {"backends", "outside"} else value
            for field, value in serving._asdict().items()
            if field == "backends" or value != Serving._field_defaults[field]
        }
        for frontend, serving in frontends.items()
    }


def packed(*addresses: str) -> frozenset[bytes]:
    return frozenset(map(pack_address, addresses))
