"""Objects as a user would create them."""

from __future__ import annotations

from typing import Any

SERVICES = "/api/v1/namespaces/default/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
NODES = "/api/v1/nodes"
PODS = "/api/v1/namespaces/default/pods"
ACCOUNTS = "/api/v1/namespaces/kube-system/serviceaccounts"
HEADLESS = "service.kubernetes.io/headless"


def service(name: str, port: int = 80, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": port}], **spec}}


def endpoint_slice(name: str, service_name: str, *addresses: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service_name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]} for address in addresses],
        "ports": [{"port": 8080}],
    }


def node(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"podCIDR": "10.244.7.0/24"}}


def pod(name: str, node_name: str, **labels: str) -> dict[str, Any]:
    spec = {"containers": [{"name": "web", "image": "none"}], "nodeName": node_name}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}
