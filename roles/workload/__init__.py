"""Real servers in the pods, and the Services for them, as ordinary Kubernetes YAML.

If a kubelet runs, kubectl applies the YAML to the cluster; otherwise the agent reads it from a folder.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyinfra.api.deploy import deploy
from pyinfra.context import host
from pyinfra.context import inventory as hosts

from inventory.hosts import short_name
from roles.kubectl import FOLDER as KUBERNETES
from roles.kubectl import applied, cluster
from roles.node import plain_addresses
from roles.operations import digest, put_files, tools
from roles.templates import render
from roles.workload.facts import FOLDER
from roles.workload.operations import SERVERS, endpoint_slices_present, servers

HERE = Path(__file__).parent
MANIFESTS = "/etc/socklb/manifests"
# What runs in a pod; NAME in its configuration becomes the pod's name.
CONTAINERS = {
    "web": {"replicas": 3, "port": 8080, "run": "nginx -c /run/web.conf -g 'daemon off;'"},
    "dns": {"replicas": 2, "port": 53, "run": "dnsmasq --conf-file=/run/dns.conf --keep-in-foreground"},
}
PACKAGES = {"nginx": "nginx-light", "dnsmasq": "dnsmasq-base", "start-stop-daemon": "dpkg"}


@deploy("workload")
def workload() -> None:
    if "kubernetes" not in host.groups:
        _workload_by_hand()
    elif host == cluster():
        put_files(name="Manifests", files=_kubernetes_manifests(host.data.services))
        for name in host.loop(["workload", "services"]):
            applied(name=f"Objects of {name}.yaml", path=f"{KUBERNETES}/{name}.yaml")


def _workload_by_hand() -> None:
    serving = {pod: kind for pod, kind in host.data.pods.items() if kind in SERVERS}
    tools(name="Servers' programs", packages=PACKAGES)
    put_files(
        name="Servers' configuration",
        files={f"{FOLDER}/{pod}.conf": _config(pod, kind) for pod, kind in serving.items()},
    )
    servers(name="Servers in the pods", pods=serving)
    put_files(name="Services and Nodes", files=_manifests(host.data.services))
    endpoint_slices_present(name="EndpointSlices", path=f"{MANIFESTS}/endpointslices.yaml", services=host.data.services)


def _config(pod: str, kind: str) -> str:
    return render(HERE, f"{kind}.conf", pod=pod, web_addresses=host.data.services["web"]["addresses"])


def _kubernetes_manifests(services: Mapping[str, Any]) -> dict[str, str]:
    configs = {kind: _config("NAME", kind) for kind in CONTAINERS}
    servers = {
        kind: container | {"command": _command(kind, str(container["run"])), "digest": digest(configs[kind])[:12]}
        for kind, container in CONTAINERS.items()
    }
    values = {"configs": configs, "servers": servers, "image": host.data.tools_image}
    return {
        f"{KUBERNETES}/workload.yaml": render(HERE, "kubernetes.yaml", **values),
        f"{KUBERNETES}/services.yaml": render(HERE, "services.yaml", services=services),
    }


def _command(kind: str, run: str) -> str:
    configured = f"sed s/NAME/$HOSTNAME/g {FOLDER}/{kind}.conf >/run/{kind}.conf"
    return f"mkdir -p /run/socklb && {configured} && exec {run}"


def _manifests(services: Mapping[str, Any]) -> dict[str, str]:
    nodes = [
        {"name": short_name(node), "addresses": plain_addresses(node), "pod_cidrs": node.data.pod_cidrs}
        for node in hosts.get_group("nodes")
    ]
    return {
        f"{MANIFESTS}/services.yaml": render(HERE, "services.yaml", services=services),
        f"{MANIFESTS}/nodes.yaml": render(HERE, "nodes.yaml", nodes=nodes),
    }
