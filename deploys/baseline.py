"""Makes the cluster an ordinary one: flannel's UDP tunnel between the nodes, kube-proxy's iptables for Services.

pyinfra inventory deploys/baseline.py
pyinfra inventory/kind.py deploys/baseline.py

The agent stays and serves processes in the node's cgroup; connections from outside of it go the ordinary way.
deploys/cluster.py, on the same inventory, removes all of it again.
"""

from pyinfra.api.exceptions import OperationError
from pyinfra.context import host

from roles.agent import agent
from roles.base import base
from roles.baseline import MTU, applications, control_plane, flannel, kube_proxy, objects
from roles.kubernetes import kubernetes, ready
from roles.machine import GROUP
from roles.node import node
from roles.operations import barrier
from roles.pods import pods
from roles.workload import workload

is_node = "nodes" in host.groups
in_kubernetes = "kubernetes" in host.groups

if GROUP in host.groups:
    raise OperationError(
        f"{host.name} is a machine of its own; only the local cluster and kind's are made ordinary ones. "
        "Next: pyinfra inventory/local.py deploys/baseline.py"
    )
base()
node(native=(6,))  # IPv4 goes through the tunnel
if in_kubernetes:
    kubernetes()
elif is_node:
    control_plane()
barrier(name="There is an API server")
if is_node:
    pods(mtu=MTU)
barrier(name="Every pod has its addresses")
if is_node:
    workload()
    objects()
barrier(name="The API server knows them all")
if is_node:
    flannel()
    kube_proxy()
    applications()
    agent(packet_path=False, node_routes=False)
barrier(name="Every agent serves")
if in_kubernetes:
    ready()
