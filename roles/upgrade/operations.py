"""One machine's upgrade as operations: kubeadm's own, and pods away from it while its kubelet is replaced."""

import shlex
from collections.abc import Generator

from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from inventory.hosts import short_name
from roles.control_plane.operations import logged
from roles.kubectl import DRAIN, UPGRADING, kubectl
from roles.kubernetes.facts import OWN_KUBECTL

SKIP = "--skip-phases addon/kube-proxy"


@operation(is_idempotent=False)
def kubeadm_upgrade(first: bool) -> Generator[StringCommand, None, None]:
    """Bring the cluster to kubeadm's own version, on the first control plane, or this machine to the cluster's.

    kubeadm does again what is done already, so that an interrupted one is begun again.
    """
    words = "apply --yes $(kubeadm version --output short)" if first else "node"
    yield StringCommand(logged(f"kubeadm upgrade {words} {SKIP}"))


@operation(is_idempotent=False)
def drained(by: str) -> Generator[FunctionCommand, None, None]:
    """Move the pods of this machine to others, by a control plane; pods without a controller stop it."""
    node = shlex.quote(short_name(host))
    begun = f"annotate --overwrite node {node} {UPGRADING}=true"
    yield FunctionCommand(kubectl, (by, begun, f"drain {node} {DRAIN}"), {})


@operation(is_idempotent=False)
def registered() -> Generator[StringCommand, None, None]:
    """Wait until the API has heard of the new kubelet: until then, Ready is what the old one said."""
    version = "{.status.nodeInfo.kubeletVersion}=$(kubelet --version | cut -d ' ' -f 2)"
    yield StringCommand(f'{OWN_KUBECTL} wait --for=jsonpath="{version}" node/$(hostname) --timeout=180s')


@operation(is_idempotent=False)
def uncordoned(by: str) -> Generator[FunctionCommand, None, None]:
    yield FunctionCommand(kubectl, (by, f"uncordon {shlex.quote(short_name(host))}"), {})


@operation(is_idempotent=False)
def done(by: str) -> Generator[FunctionCommand, None, None]:
    """Note that this machine has passed: until then, another run begins it again."""
    yield FunctionCommand(kubectl, (by, f"annotate node {shlex.quote(short_name(host))} {UPGRADING}-"), {})
