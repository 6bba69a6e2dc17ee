"""Brings machines over SSH to the Kubernetes that the inventory now says, of the next minor version or of the same.

    pyinfra inventory/bare_metal.py deploys/upgrade.py

First it checks whether that may be, and saves what etcd has. Then it proceeds machine by machine: the next one waits
until this one is Ready and `socklb check` finds nothing wrong on it. All API servers come before any kubelet, because a
kubelet asks whichever of them has the API's address. Interrupted, the same command continues; a second run changes
nothing.
"""

from pyinfra.api.exceptions import OperationError
from pyinfra.context import host
from pyinfra.context import inventory as hosts

from inventory.hosts import short_name
from roles.agent.operations import gate
from roles.control_plane.operations import saved
from roles.kubectl import cluster
from roles.kubernetes import SYSTEM
from roles.kubernetes.operations import dns_spread, rolled_out
from roles.machine import GROUP
from roles.upgrade import behind, control_plane_upgraded, new_images, node_upgraded

if GROUP not in host.groups:
    raise OperationError(
        f"{host.name} is not a machine over SSH. Next: pyinfra inventory/bare_metal.py deploys/upgrade.py"
    )

todo = behind()
nodes = [node for node in hosts.get_group("nodes") if node.name in todo]

if todo:
    if host == cluster():
        saved(name="What etcd has", node=short_name(host))
    new_images()
    gate(name="Every machine has the images", nodes=[node.name for node in hosts.get_group("nodes")])
for plane in host.loop([node for node in nodes if node in hosts.get_group("control_plane")]):
    if host == plane:
        control_plane_upgraded()
    gate(name=f"{short_name(plane)} has the new API server", nodes=[plane.name])
for node in host.loop(nodes):
    if host == node:
        node_upgraded()
    gate(name=f"{short_name(node)} has the new kubelet", nodes=[node.name])
if todo and host == cluster():  # each Node that was drained gave its DNS to the others
    dns_spread(name="DNS is not on one machine alone")
    rolled_out(name="DNS is ready", objects=[*SYSTEM])
