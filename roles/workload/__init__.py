"""Real servers in the pods, and the Services that stand for them, as ordinary Kubernetes YAML in a folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyinfra.api.deploy import deploy
from pyinfra.context import host
from pyinfra.context import inventory as hosts

from inventory.hosts import short_name
from roles.node import plain_addresses
from roles.operations import put_files, tools
from roles.templates import render
from roles.workload.facts import FOLDER
from roles.workload.operations import SERVERS, endpoint_slices_present, servers

HERE = Path(__file__).parent
MANIFESTS = "/etc/socklb/manifests"
PACKAGES = {"nginx": "nginx-light", "dnsmasq": "dnsmasq-base", "start-stop-daemon": "dpkg"}


@deploy("workload")
def workload() -> None:
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


def _manifests(services: Mapping[str, Any]) -> dict[str, str]:
    nodes = [
        {"name": short_name(node), "addresses": plain_addresses(node), "pod_cidrs": node.data.pod_cidrs}
        for node in hosts.get_group("nodes")
    ]
    return {
        f"{MANIFESTS}/services.yaml": render(HERE, "services.yaml", services=services),
        f"{MANIFESTS}/nodes.yaml": render(HERE, "nodes.yaml", nodes=nodes),
    }
