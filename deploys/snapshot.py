"""Saves what etcd has, on the machine of the first control plane: /var/lib/socklb/etcd, the newest five.

pyinfra inventory/bare_metal.py deploys/snapshot.py
"""

from pyinfra.api.exceptions import OperationError
from pyinfra.context import host

from inventory.hosts import short_name
from roles.control_plane.operations import saved
from roles.kubectl import cluster
from roles.machine import GROUP

if GROUP not in host.groups:
    raise OperationError(
        f"{host.name} is not a machine over SSH. Next: pyinfra inventory/bare_metal.py deploys/snapshot.py"
    )
if host == cluster():
    saved(name="What etcd has", node=short_name(host))
