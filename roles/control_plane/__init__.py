"""The control plane of a cluster, by `kubeadm init` without kube-proxy, from a configuration of version v1beta4."""

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from inventory.hosts import short_name
from roles.container_runtime.offline import image_archive, offline
from roles.control_plane.operations import initialised
from roles.node import plain_addresses


@deploy("control plane")
def control_plane() -> None:
    if folder := offline():
        image_archive(folder, "control-plane")
    initialised(
        name="kubeadm init",
        values={
            "node": short_name(host),
            "addresses": plain_addresses(host),
            "endpoint": host.data.api_endpoint,
            "pod_cidrs": host.data.pod_cidrs,
            "service_cidrs": host.data.service_cidrs,
        },
    )
