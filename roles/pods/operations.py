"""Pods of a node, all of them in one operation."""

import json
import shlex
from collections.abc import Collection, Generator, Sequence

from pyinfra.api.command import FileUploadCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from inventory.hosts import short_name
from roles.kubectl import Nodes, cluster
from roles.operations import failure, write_files
from roles.pods.facts import OtherNetworks, OutdatedPods, Pods

# The last address of host-local. Without it, pods that are made again get the addresses that they had.
LAST_ADDRESSES = "/run/socklb/cni/pods/last_reserved_ip.*"
CONFLIST = f"/etc/cni/net.d/{OtherNetworks.conflist}"


@operation()
def pods_present(names: Collection[str]) -> Generator[StringCommand, None, None]:
    """Make sure of these pods, on the present network; others, which somebody made for an experiment, stay."""
    present, outdated = host.get_fact(Pods), host.get_fact(OutdatedPods)
    missing = [name for name in names if name not in present or name in outdated]
    if old := [name for name in missing if name in present]:
        yield StringCommand(f"pod delete {shlex.join(old)} && rm -f {LAST_ADDRESSES}")
    if missing:
        yield StringCommand("pod add", shlex.join(missing))
    else:
        host.noop(f"pods are there: {', '.join(names)}")


@operation()
def cni_network(mtu: int | None = None) -> Generator[StringCommand | FileUploadCommand, None, None]:
    """Configure the network of the kubelet's runtime, from the CIDRs that Kubernetes gave this Node. Another one stays.

    Existing pods keep their MTU; their node tells them if a packet must be smaller.
    """
    if others := host.get_fact(OtherNetworks):
        host.noop(f"the network is that of {', '.join(others)}")
        return
    nodes = cluster().get_fact(Nodes)
    name = short_name(host)
    if name in nodes and nodes[name]["pod_cidrs"]:
        yield from write_files({CONFLIST: conflist(nodes[name]["pod_cidrs"], mtu)})
    else:
        yield failure(f"the cluster has no Node {name} with pod CIDRs. Next: kubectl describe node {name}")


def conflist(pod_cidrs: Sequence[str], mtu: int | None = None) -> str:
    """Return a point-to-point configuration, because kind's own image has no bridge plugin. The agent masquerades."""
    plugin: dict[str, object] = {
        "type": "ptp",
        "ipMasq": False,
        "ipam": {
            "type": "host-local",
            "dataDir": "/run/cni-ipam-state",  # lost with the pods at a reboot
            "routes": [{"dst": "::/0" if ":" in cidr else "0.0.0.0/0"} for cidr in pod_cidrs],
            "ranges": [[{"subnet": cidr}] for cidr in pod_cidrs],
        },
    }
    plugin |= {"mtu": mtu} if mtu else {}
    return json.dumps({"cniVersion": "0.4.0", "name": "socklb", "plugins": [plugin]}, indent=2) + "\n"
