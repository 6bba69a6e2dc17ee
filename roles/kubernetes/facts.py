"""What a cluster of Kubernetes says of itself."""

import base64
import json
import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple

from pyinfra.api.facts import FactBase

from roles.kubectl import KUBECTL

SECRET = "--namespace kube-system secret/socklb-token"
# A kubelet may read its own Node, so every node can be asked about itself.
OWN_KUBECTL = "kubectl --kubeconfig /etc/kubernetes/kubelet.conf"
READY = """'jsonpath={.status.conditions[?(@.type=="Ready")].status}'"""


class Account(NamedTuple):
    """With what the agent proves who it is, and by what it knows the API server."""

    token: str
    ca: str


class AgentAccount(FactBase[Account | None]):
    """The agent's token and the cluster's certificate authority, both as PEM or JWT text; None: not there yet."""

    @staticmethod
    def default() -> None:
        return None

    def command(self) -> str:
        return f"{KUBECTL} get {SECRET} --ignore-not-found --output json"

    def process(self, output: list[str]) -> Account | None:
        secret: dict[str, Any] = json.loads("".join(output) or "{}")
        data = secret.get("data", {})
        if not data.get("token"):
            return None
        return Account(base64.b64decode(data["token"]).decode(), base64.b64decode(data["ca.crt"]).decode())


class NodeIsReady(FactBase[bool]):
    """Whether this host's Node is Ready."""

    @staticmethod
    def default() -> bool:
        return False

    def command(self) -> str:
        return f"{OWN_KUBECTL} get node $(hostname) --output {READY} 2>/dev/null || true"

    def process(self, output: list[str]) -> bool:
        return output == ["True"]


class NotRolledOut(FactBase[list[str]]):
    """Those of these objects (`namespace kind/name`) that are not what their specification asks for."""

    @staticmethod
    def default() -> list[str]:
        return []

    def command(self, objects: Sequence[str]) -> str:
        status = f"{KUBECTL} rollout status --watch=false --namespace $namespace $object 2>&1"
        done = "grep -Eq 'successfully rolled out'"
        return (
            f"printf '%s\\n' {shlex.join(objects)} | "
            f"while read -r namespace object; do {status} | {done} || echo $namespace $object; done"
        )

    def process(self, output: list[str]) -> list[str]:
        return output
