"""A worker: the machine joins the cluster, with a token that nobody else sees."""

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from inventory.hosts import short_name
from roles.node import plain_addresses
from roles.worker.operations import joined


@deploy("worker")
def worker() -> None:
    joined(name="kubeadm join", values={"node": short_name(host), "addresses": plain_addresses(host)})
