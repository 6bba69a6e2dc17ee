"""Pods by the CNI protocol, with addresses from the node's own pod CIDRs, IPv4 and IPv6.

If a kubelet runs, it makes the pods: then only the plugin's configuration is needed.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from roles.operations import put_files, tools
from roles.pods.operations import cni_network, pods_present

POD = Path(__file__).parent / "files" / "pod.py"
PACKAGES = {"bridge": "containernetworking-plugins", "host-local": "containernetworking-plugins"}


@deploy("pods")
def pods(mtu: int | None = None) -> None:
    if "kubernetes" in host.groups:
        cni_network(name="CNI configuration", mtu=mtu)
        return
    tools(name="CNI plugins", packages=PACKAGES)
    put_files(name="The command pod", files={"/usr/local/bin/pod": POD.read_text()}, mode="755")
    put_files(name="CNI configuration", files={"/etc/socklb/cni.json": cni_config(host.data.pod_cidrs, mtu)})
    pods_present(name="Pods", names=list(host.data.pods))


def cni_config(pod_cidrs: Sequence[str], mtu: int | None = None) -> str:
    """Return a configuration with a gateway but no masquerading: pod addresses are routed unchanged."""
    config = {
        "cniVersion": "0.4.0",  # a version that Ubuntu 22.04's plugins (0.9.1) support too
        "name": "pods",
        "type": "bridge",
        "bridge": "cni0",
        "isDefaultGateway": True,
        "ipMasq": False,
        "hairpinMode": True,  # for a pod that is its own backend: with br_netfilter its packets are bridged back
        "ipam": {
            "type": "host-local",
            "dataDir": "/run/socklb/cni",  # lost with the namespaces at a reboot
            "ranges": [[{"subnet": cidr}] for cidr in pod_cidrs],
        },
    }
    return json.dumps(config | ({"mtu": mtu} if mtu else {}), indent=2) + "\n"
