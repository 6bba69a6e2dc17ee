"""Kubernetes' own objects, as far as a lab must read them."""

from collections.abc import Mapping
from typing import Any

from labs.engine.cluster import Port, Service


def service_of(document: Mapping[str, Any]) -> Service:
    """Return a Service as Kubernetes spells it. Its pods are those with the label `app` that it selects."""
    spec = document["spec"]
    ports = tuple(_port(port) for port in spec.get("ports", ()))
    addresses = tuple(address for address in spec.get("clusterIPs", ()) if address != "None")
    ingress = document.get("status", {}).get("loadBalancer", {}).get("ingress", ())
    balancers = tuple(one["ip"] for one in ingress if "ip" in one)
    kind, health = spec.get("selector", {}).get("app", ""), spec.get("healthCheckNodePort")
    return Service(document["metadata"]["name"], kind, addresses, ports, balancers, health)


def _port(port: Mapping[str, Any]) -> Port:
    target = port.get("targetPort", port["port"])
    number = target if isinstance(target, int) else port["port"]
    return Port(port.get("name", ""), port.get("protocol", "TCP"), port["port"], number, port.get("nodePort"))
