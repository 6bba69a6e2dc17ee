"""EndpointSlices as the Kubernetes controller writes them: one per Service and family, from the existing pods."""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any, NamedTuple

import yaml

FAMILIES = {4: "IPv4", 6: "IPv6"}


class Endpoint(NamedTuple):
    """A pod that serves: its node, its Service, and its addresses."""

    node: str
    pod: str
    service: str
    addresses: tuple[str, ...]


def endpoint_slices(services: Mapping[str, Any], endpoints: Iterable[Endpoint], before: str) -> str:
    """Return the slices as YAML. `before` is the present text of the file: a slice that differs gets the next
    generation.
    """
    old = {document["metadata"]["name"]: document for document in yaml.safe_load_all(before) if document}
    known = sorted(endpoints, key=lambda endpoint: endpoint.pod)
    new = [_slice(name, service, family, known) for name, service in services.items() for family in FAMILIES]
    return yaml.safe_dump_all((_numbered(document, old) for document in new), sort_keys=False, explicit_start=True)


def _slice(name: str, service: Mapping[str, Any], family: int, endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    found = [
        {
            "addresses": [address],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": endpoint.node,
            "targetRef": {"kind": "Pod", "name": endpoint.pod, "namespace": "default"},
        }
        for endpoint in endpoints
        if endpoint.service == name
        for address in endpoint.addresses
        if ip_address(address).version == family
    ]
    ports = [
        {"name": port["name"], "protocol": port["protocol"], "port": port["targetPort"]} for port in service["ports"]
    ]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-{FAMILIES[family].lower()}",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": FAMILIES[family],
        "endpoints": found,
        "ports": ports if found else [],
    }


def _numbered(document: dict[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    before = old.get(document["metadata"]["name"])
    number: int = before["metadata"].pop("generation") if before else 0
    document["metadata"]["generation"] = number if document == before else number + 1
    return document
