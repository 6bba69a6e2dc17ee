"""Removes everything that deploys/cluster.py made: processes, namespaces, cgroups, pins, mounts, files.

pyinfra inventory deploys/teardown.py
pyinfra inventory/bare_metal.py deploys/teardown.py --limit w2      one machine over SSH: drained, and as it was before
"""

from pyinfra.context import host

from roles.machine import GROUP, machine_gone
from roles.node.operations import removed

if GROUP in host.groups:
    machine_gone()
else:
    removed(name="Remove the node")
