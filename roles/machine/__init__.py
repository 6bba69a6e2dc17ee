"""A machine over SSH before and after: its state is recorded, and teardown restores it."""

from pyinfra.api.deploy import deploy
from pyinfra.context import host
from pyinfra.context import inventory as hosts

from roles.machine.operations import node_deleted, pods_have_left, put_back, recorded
from roles.operations import barrier

GROUP = "machines"  # of the inventory: hosts reached by SSH that these roles turn into nodes


@deploy("machine")
def machine() -> None:
    recorded(name="What the machine is like")


@deploy("machine")
def machine_gone() -> None:
    """Restore this machine. One that leaves while the cluster stays is drained before, and its Node removed after."""
    going = hosts.get_active_hosts()
    staying = [one.name for one in hosts.get_group("control_plane") if one not in going]
    if staying:
        pods_have_left(name="Drained", by=staying[0])
    barrier(name="No machine that goes has pods of others")
    put_back(name="The machine as it was", keep=host.data.keep)
    if staying:
        node_deleted(name="Its Node removed", by=staying[0])
