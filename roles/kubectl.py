"""The Kubernetes API by kubectl on the control plane's machine, with the administrator's credentials in a file there.

cluster().get_fact(Nodes)["socklb-worker"]["pod_cidrs"]
"""

import json
import shlex
from collections.abc import Generator
from typing import Any, TypedDict

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.context import host
from pyinfra.context import inventory as hosts
from pyinfra.facts.files import File

ADMIN = "/etc/kubernetes/admin.conf"
KUBECTL = f"kubectl --kubeconfig {ADMIN}"
# Before a fact about a cluster: while a deploy is prepared, there may be no cluster yet.
IF_ANY = f"[ ! -e {ADMIN} ] ||"
FOLDER = "/etc/socklb/kubernetes"  # what was applied
UPGRADING = "socklb.io/upgrading"  # annotation of a Node
DRAIN = "--ignore-daemonsets --delete-emptydir-data --timeout=120s"


def cluster() -> Host:
    """Return the host whose kubectl is used for the whole cluster: its first control plane that is in reach."""
    first, *others = hosts.get_group("control_plane")
    if not others:
        return first
    # Never one that only may become one: a lost first machine must not be taken for a cluster that does not exist yet.
    there = (one for one in (first, *others) if one.connected and one.get_fact(File, path=ADMIN))
    return next(there, first)


class KubernetesNode(TypedDict):
    addresses: list[str]
    pod_cidrs: list[str]
    tainted: bool
    kubelet: str  # its version: v1.34.4
    ready: bool
    cordoned: bool
    upgrading: bool  # an upgrade has cordoned it, and was interrupted or is at it


class Nodes(FactBase[dict[str, KubernetesNode]]):
    """The Nodes of the cluster, by name."""

    taint = "node-role.kubernetes.io/control-plane"

    @staticmethod
    def default() -> dict[str, KubernetesNode]:
        return {}

    def command(self) -> str:
        return f"{IF_ANY} {KUBECTL} get nodes --output json"

    def process(self, output: list[str]) -> dict[str, KubernetesNode]:
        nodes: list[Any] = json.loads("".join(output) or '{"items": []}')["items"]
        return {
            node["metadata"]["name"]: {
                "addresses": [
                    one["address"] for one in node["status"].get("addresses", []) if one["type"] == "InternalIP"
                ],
                "pod_cidrs": node["spec"].get("podCIDRs", []),
                "tainted": any(taint["key"] == self.taint for taint in node["spec"].get("taints", [])),
                "kubelet": node["status"].get("nodeInfo", {}).get("kubeletVersion", ""),
                "ready": any(
                    one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions", [])
                ),
                "cordoned": node["spec"].get("unschedulable", False),
                "upgrading": UPGRADING in node["metadata"].get("annotations", {}),
            }
            for node in nodes
        }


def kubectl(by: str, *commands: str) -> None:
    """Run kubectl on the machine of a control plane, in another host's operation: for a FunctionCommand.

    Raises:
        OSError: one of the commands failed.
    """
    plane = hosts.get_host(by)
    assert plane
    root = {key: value for key in ("_sudo", "_sudo_password") if (value := plane.data.get(key))}
    for words in commands:
        done, output = plane.run_shell_command(StringCommand(f"{KUBECTL} {words}"), **root)
        if not done:
            raise OSError(f"kubectl {words}: {output.output}. Next: the same by hand, on {by}")


class Applied(FactBase[bool]):
    """Whether the cluster has the objects of this file in their present form."""

    @staticmethod
    def default() -> bool:
        return False

    def command(self, path: str) -> str:
        return f"{KUBECTL} diff --filename {shlex.quote(path)} >/dev/null 2>&1 && echo yes || true"

    def process(self, output: list[str]) -> bool:
        return output == ["yes"]


@operation()
def applied(path: str) -> Generator[StringCommand, None, None]:
    """Apply the objects in a file on this host. An object that is removed from the file stays in the cluster."""
    if host.get_fact(Applied, path=path):
        host.noop(f"the cluster has the objects of {path}")
    else:
        yield StringCommand(f"{KUBECTL} apply --filename {shlex.quote(path)}")
