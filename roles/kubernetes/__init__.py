"""What a Kubernetes cluster needs as a whole: pods on every node, and an account for the agent.

ready() comes last: it waits until every Node, the cluster's DNS and the workload are ready.
"""

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import OperationError
from pyinfra.context import host

from inventory.hosts import short_name
from roles.kubectl import FOLDER, applied, cluster
from roles.kubernetes.facts import MadeBy
from roles.kubernetes.operations import (
    agents_token_is_there,
    dependants_told,
    every_node_has_passed,
    kube_proxy_removed,
    kube_proxys_rules_removed,
    node_is_ready,
    nodes_have_pod_cidrs,
    rolled_out,
    translated_live_on,
    untainted,
)
from roles.operations import barrier, put_files
from roles.templates import render

HERE = Path(__file__).parent
MANIFESTS = HERE.parents[1] / "deploys" / "kubernetes"
SYSTEM = ("kube-system deployment/coredns",)
WORKLOAD = ("default deployment/web", "default deployment/dns", "default daemonset/client")


@deploy("kubernetes")
def kubernetes() -> None:
    if host == cluster():
        nodes_have_pod_cidrs(name="Every Node has its pod CIDRs")
        untainted(name="Pods may run on the control plane")
    account()


def of_kubeadm() -> None:
    """Refuse a cluster that kubeadm did not make.

    Raises:
        OperationError: it did not. Nothing was changed.
    """
    if (maker := cluster().get_fact(MadeBy)) != "kubeadm":
        what = f"is of {maker}" if maker else "has no /etc/kubernetes/admin.conf"
        raise OperationError(
            f"{short_name(cluster())} {what}, and this deploy is for kubeadm's clusters: nothing was changed. "
            f"Next: Helm, as in docs/distributions.md{f'#{maker}' if maker else ''}"
        )


@deploy("account")
def account() -> None:
    """Create the agent's rights at the API; nothing else is needed in a cluster that is somebody else's."""
    if host == cluster():
        rights = ["rbac.yaml", *(["rbac-bypass.yaml"] if host.data.get("bypass_pods") else [])]
        files = {f"{FOLDER}/{name}": (MANIFESTS / name).read_text() for name in rights}
        put_files(
            name="Manifests of the agent's account", files={**files, f"{FOLDER}/token.yaml": render(HERE, "token.yaml")}
        )
        for name in rights:
            applied(name=f"The agent's rights: {name}", path=f"{FOLDER}/{name}")
        applied(name="The agent's token", path=f"{FOLDER}/token.yaml")
        agents_token_is_there(name="Kubernetes has made the token")


@deploy("ready")
def ready() -> None:
    node_is_ready(name="The node is Ready")
    barrier(name="Every node is Ready")
    if host == cluster():
        rolled_out(name="DNS and the workload are ready", objects=[*SYSTEM, *WORKLOAD])


@deploy("kube-proxy")
def kube_proxy_gone() -> None:
    """Remove kube-proxy once the agents serve packets too: its rules stay until then, so that Services are always
    served.
    """
    translated_live_on(name="Connections that kube-proxy translated outlive its rules")
    every_node_has_passed(name="No node loses a connection")
    if host == cluster():
        kube_proxy_removed(name="kube-proxy is removed")
    barrier(name="No kube-proxy writes rules any more")
    kube_proxys_rules_removed(name="kube-proxy's rules are removed")


@deploy("dependants")
def dependants() -> None:
    dependants_told(name="Connections that depend on rules for packets")
