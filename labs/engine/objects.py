"""Kubernetes objects, as far as a lab must read them, and what only a lab assigns here."""

import re
from collections.abc import Mapping
from typing import Any

from labs.engine.cluster import Port, Service


def service_of(document: Mapping[str, Any]) -> Service:
    """Return a Service from its Kubernetes object. Its pods are those with the label `app` that it selects."""
    spec = document["spec"]
    ports = tuple(_port(port) for port in spec.get("ports", ()))
    addresses = tuple(address for address in spec.get("clusterIPs", ()) if address != "None")
    ingress = document.get("status", {}).get("loadBalancer", {}).get("ingress", ())
    balancers = tuple(one["ip"] for one in ingress if "ip" in one)
    kind, health = spec.get("selector", {}).get("app", ""), spec.get("healthCheckNodePort")
    return Service(document["metadata"]["name"], kind, addresses, ports, balancers, health)


def first_number(name: str) -> int:
    """Return where the numbers of Services begin that are applied under this name, such as `lab-07`."""
    return int(re.sub(r"\D", "", name) or 0) * 20


def balanced(number: int) -> dict[str, Any]:
    """Return the status that a load balancer's controller would write, with addresses reserved for documentation."""
    ingress = [{"ip": f"203.0.113.{number + 1}"}, {"ip": f"2001:db8::1:{number:x}"}]
    return {"loadBalancer": {"ingress": ingress}}


def _port(port: Mapping[str, Any]) -> Port:
    target = port.get("targetPort", port["port"])
    number = target if isinstance(target, int) else port["port"]
    return Port(port.get("name", ""), port.get("protocol", "TCP"), port["port"], number, port.get("nodePort"))
