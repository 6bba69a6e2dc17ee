"""The control plane of a cluster, by `kubeadm init` without kube-proxy, from a configuration of version v1beta4.

With more than one machine, the others join it, one after the other; etcd is on each of them.
"""

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from inventory.hosts import short_name
from roles.container_runtime.offline import image_archive, offline
from roles.control_plane.operations import initialised
from roles.node import plain_addresses
from roles.virtual_address import virtual_address
from roles.worker.operations import joined


@deploy("control plane")
def control_plane() -> None:
    images()
    if host.data.get("virtual_address"):
        virtual_address()  # before the API server: kubeadm asks it there
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


@deploy("control plane")
def control_plane_joins() -> None:
    images()
    joined(
        name="kubeadm join",
        values={"node": short_name(host), "addresses": plain_addresses(host)},
        as_control_plane=True,
    )
    if host.data.get("virtual_address"):
        virtual_address()  # after it: the address stays where the API server is


def images() -> None:
    if folder := offline():
        image_archive(folder, "control-plane")
