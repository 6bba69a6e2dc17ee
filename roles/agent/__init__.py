"""The agent on a node: its bundle, its configuration, its service."""

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host
from pyinfra.context import inventory as hosts

from inventory.hosts import short_name
from roles.agent.facts import CONFIG, KUBECONFIG, PROGRAM, UNIT
from roles.agent.operations import LOG, account, bundle, service
from roles.facts import Init
from roles.operations import put_files
from roles.templates import render
from roles.workload import MANIFESTS

HERE = Path(__file__).parent
BUNDLE = HERE.parents[1] / "build" / "agent.tar"


@deploy("agent")
def agent() -> None:
    systemd = host.get_fact(Init) == "systemd"
    if "kubernetes" in host.groups:
        account(name="Account at the Kubernetes API")
    bundle(name="Bundle", tar=str(BUNDLE))
    put_files(name="Configuration", files={CONFIG: render(HERE, "socklb.toml", **settings())})
    if systemd:
        put_files(name="Unit", files={UNIT: render(HERE, "socklb-agent.service", program=PROGRAM, log=LOG)})
    service(name="Service", systemd=systemd)


def settings() -> dict[str, object]:
    """What the template needs: this node, and the networks of the whole cluster."""
    kubernetes = "kubernetes" in host.groups
    cidrs = {cidr for node in hosts.get_group("nodes") for cidr in node.data.pod_cidrs}
    return {
        "node": short_name(host),
        "source": {"kubeconfig": KUBECONFIG, "node_routes": True} if kubernetes else {"manifests": MANIFESTS},
        "pod_cidrs": sorted(cidrs),
        "external_ips": host.data.get("external_ips", []),
    }
