"""Removes everything that deploys/cluster.py made: processes, namespaces, cgroups, pins, mounts, files.

pyinfra inventory deploys/teardown.py
"""

from roles.node.operations import removed

removed(name="Remove the node")
