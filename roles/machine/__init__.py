"""A machine over SSH before and after: its state is recorded, and teardown restores it."""

from pyinfra.api.deploy import deploy
from pyinfra.context import host
from pyinfra.context import inventory as hosts

from roles.machine.operations import left_the_cluster, put_back, recorded
from roles.operations import barrier

GROUP = "machines"  # of the inventory: hosts reached by SSH that these roles turn into nodes


@deploy("machine")
def machine() -> None:
    recorded(name="What the machine is like")


@deploy("machine")
def machine_gone() -> None:
    """Restore this machine. One that leaves while the cluster stays is drained first, and its Node removed."""
    going = hosts.get_active_hosts()
    if staying := [one for one in hosts.get_group("control_plane") if one not in going]:
        left_the_cluster(name="Drained, and its Node removed", by=staying[0].name)
    barrier(name="No Node of a machine that goes is left")
    put_back(name="The machine as it was", keep=host.data.keep)
