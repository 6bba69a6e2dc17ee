"""Facts about a Kubernetes cluster."""

import base64
import json
import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple

from pyinfra.api.facts import FactBase

from roles.kubectl import FOLDER, IF_ANY, KUBECTL

SECRET = "--namespace kube-system secret/socklb-token"
# A kubelet may read its own Node, so every node can report about itself.
OWN_KUBECTL = "kubectl --kubeconfig /etc/kubernetes/kubelet.conf"
KUBE_PROXY = "--namespace kube-system daemonset/kube-proxy"
KUBE_PROXY_BACKUP = f"{FOLDER}/kube-proxy.yaml"  # as it was when it was removed
READY = """'jsonpath={.status.conditions[?(@.type=="Ready")].status}'"""


class Account(NamedTuple):
    """The agent's credentials, and the authority that certifies the API server."""

    token: str
    ca: str


class AgentAccount(FactBase[Account | None]):
    """The agent's token and the cluster's certificate authority, as JWT and PEM text; None: not there yet."""

    @staticmethod
    def default() -> None:
        return None

    def command(self) -> str:
        return f"{IF_ANY} {KUBECTL} get {SECRET} --ignore-not-found --output json"

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
    """Those of these objects (`namespace kind/name`) that do not match their specification yet."""

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


class DnsNodes(FactBase[set[str]]):
    """The Nodes that have a pod of the cluster's DNS."""

    @staticmethod
    def default() -> set[str]:
        return set()

    def command(self) -> str:
        pods = "get pods --namespace kube-system --selector k8s-app=kube-dns"
        return f"{IF_ANY} {KUBECTL} {pods} --output 'jsonpath={{.items[*].spec.nodeName}}'"

    def process(self, output: list[str]) -> set[str]:
        return {*" ".join(output).split()}


class MadeBy(FactBase[str]):
    """What made the control plane of this host: `kubeadm`, `k3s`, or empty: none of them."""

    @staticmethod
    def default() -> str:
        return ""

    def command(self) -> str:
        others = "[ ! -e /etc/rancher/k3s ] || echo k3s"
        return f"if [ -e /etc/kubernetes/admin.conf ]; then echo kubeadm; else {others}; fi"

    def process(self, output: list[str]) -> str:
        return output[0] if output else ""


class KubeProxy(FactBase[bool]):
    """Whether the cluster has kube-proxy as kubeadm installs it."""

    @staticmethod
    def default() -> bool:
        return False

    def command(self) -> str:
        return f"{IF_ANY} {KUBECTL} get {KUBE_PROXY} --ignore-not-found --output name"

    def process(self, output: list[str]) -> bool:
        return bool(output)


class KubeProxyImage(FactBase[str]):
    """The image of the kube-proxy that was removed, empty if none was."""

    @staticmethod
    def default() -> str:
        return ""

    def command(self) -> str:
        return f"sed -n 's/^ *image: //p' {KUBE_PROXY_BACKUP} 2>/dev/null || true"


# Not iptables-save alone: it shows nothing of a table in which somebody has rules that iptables cannot read.
KUBE_PROXYS_RULES = (
    "{ iptables-save; ip6tables-save; nft list ruleset; } 2>/dev/null | "
    "grep -E 'KUBE-SERVICES|KUBE-SVC|kube-proxy' | head -n 1"
)


class KubeProxyRules(FactBase[bool]):
    """Whether this node has rules of a kube-proxy."""

    @staticmethod
    def default() -> bool:
        return False

    def command(self) -> str:
        return KUBE_PROXYS_RULES

    def process(self, output: list[str]) -> bool:
        return bool(output)


class OthersTranslate(FactBase[bool]):
    """Whether other rules than kube-proxy's translate addresses on this node, such as a network plugin's masquerading.

    They make connection tracking apply its entries, including those of other rules. Both kinds of rules are checked: a
    table of iptables-legacy is not in `nft list ruleset`.
    """

    @staticmethod
    def default() -> bool:
        return False

    def command(self) -> str:
        iptables = "{ iptables-save; ip6tables-save; } | grep -E -- '-j (MASQUERADE|SNAT|DNAT|REDIRECT)'"
        chains = "/^table/ { table = $3 } /chain/ { chain = $2 } /masquerade|snat|dnat|redirect/ { print table, chain }"
        nftables = f"nft list ruleset | awk {shlex.quote(chains)}"
        return f"{{ {iptables}; {nftables}; }} 2>/dev/null | grep -vE 'KUBE-|^kube-proxy ' | head -n 1"

    def process(self, output: list[str]) -> bool:
        return bool(output)


class Translated(FactBase[list[str]]):
    """TCP connections whose packets this node translates: they depend on its rules and its connection tracking."""

    @staticmethod
    def default() -> list[str]:
        return []

    def requires_command(self) -> str:
        return "conntrack"

    def command(self) -> str:
        return (
            "for family in ipv4 ipv6; do "
            "conntrack -L --family $family --dst-nat --proto tcp --state ESTABLISHED 2>/dev/null; done; true"
        )

    def process(self, output: list[str]) -> list[str]:
        return [f"{src}:{sport} -> {dst}:{dport}" for src, dst, sport, dport in map(_asked, output)]


def _asked(line: str) -> tuple[str, ...]:
    """Return the first of each of these in a line of conntrack: as the client asked; the second is for the replies."""
    return tuple(line.partition(f" {key}=")[2].partition(" ")[0] for key in ("src", "dst", "sport", "dport"))
