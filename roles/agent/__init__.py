"""The agent on a node: its bundle, its configuration, its service."""

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host
from pyinfra.context import inventory as hosts

from inventory.hosts import short_name
from inventory.ways.ssh import UNHOOKED
from roles.agent.facts import CONFIG, KUBECONFIG, PROGRAM, UNIT
from roles.agent.operations import LOG, account, bundle, service
from roles.baseline.facts import There
from roles.facts import Init
from roles.kubectl import cluster
from roles.kubernetes.facts import KubeProxy
from roles.operations import put_files, tools
from roles.pods.facts import OtherNetworks
from roles.templates import render
from roles.workload import MANIFESTS

HERE = Path(__file__).parent
FEW_FLOWS = 1 << 14  # all nodes share the memory of one machine: 10 MB each, instead of 80
PACKAGES = {
    "python3": "python3",
    "ip": "iproute2",
    "libbpf.so.1": "libbpf1",
}


@deploy("agent")
def agent(packet_path: bool = True, node_routes: bool = True) -> None:
    """Deploy the agent. Without packet path, or routes to the other nodes' pods, other software does that part."""
    systemd = host.get_fact(Init) == "systemd"
    if "kubernetes" in host.groups:
        tools(name="What the agent runs on", packages=PACKAGES)  # kind's own image has no Python
        account(name="Account at the Kubernetes API")
    bundle(name="Bundle", tar=host.data.get("bundle"))
    put_files(name="Configuration", files={CONFIG: render(HERE, "socklb.toml", **settings(packet_path, node_routes))})
    if systemd:
        values = {"program": PROGRAM, "log": LOG, "slices": [UNHOOKED] if host.data.get("unhooked_slice") else []}
        put_files(name="Unit", files={UNIT: render(HERE, "socklb-agent.service", **values)})
    service(name="Service", systemd=systemd)


def settings(packet_path: bool = True, node_routes: bool = True) -> dict[str, object]:
    """Return the values for the template: this node, its source, and the networks of the whole cluster."""
    if "kubernetes" in host.groups:
        return _common() | _of_kubernetes(packet_path, node_routes)
    cidrs = {cidr for node in hosts.get_group("nodes") for cidr in node.data.pod_cidrs}
    source = {"manifests": MANIFESTS, "max_flows": FEW_FLOWS}
    return _common() | {"source": source, "pod_cidrs": sorted(cidrs), "packet_path": packet_path}


def _common() -> dict[str, object]:
    return {
        "node": short_name(host),
        "external_ips": host.data.get("external_ips", []),
        "pod_sockets": host.data.get("pod_sockets", True),
        "host_routing": host.data.get("host_routing", False),
        "bypass_pods": host.data.get("bypass_pods", False),
        "bypass_cgroups": host.data.get("bypass_cgroups", []),
    }


def _of_kubernetes(packet_path: bool, node_routes: bool) -> dict[str, object]:
    """Return the values in Kubernetes: what another network plugin or kube-proxy does is left to it."""
    own_network = not host.get_fact(OtherNetworks)
    goes = host.data.get("kube_proxy") == "remove" or cluster().get_fact(There)  # deploys/cluster.py removes that one
    kube_proxy = cluster().get_fact(KubeProxy) and not goes
    return {
        "source": {"kubeconfig": KUBECONFIG, "node_routes": own_network and node_routes},
        "pod_cidrs": sorted(host.data.pod_cidrs) if own_network else [],
        "packet_path": packet_path and not kube_proxy,
    }
