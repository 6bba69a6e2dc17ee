"""Builds the cluster: nodes, pods with real servers, the Services as YAML, and the agent that serves them.

pyinfra inventory deploys/cluster.py
pyinfra inventory/bare_metal.py deploys/cluster.py      of machines over SSH: docs/bare-metal.md
"""

from pyinfra.context import host
from pyinfra.context import inventory as hosts

from inventory.hosts import short_name
from roles.agent import agent
from roles.base import base
from roles.baseline import baseline_gone
from roles.container_runtime import container_runtime
from roles.control_plane import control_plane, control_plane_joins
from roles.kubectl import cluster
from roles.kubernetes import kubernetes, ready
from roles.kubernetes.operations import dns_spread
from roles.kubernetes_packages import kubernetes_packages
from roles.machine import GROUP, machine
from roles.node import node
from roles.operations import barrier
from roles.pods import pods
from roles.preflight import preflight
from roles.worker import worker
from roles.workload import workload

is_node = "nodes" in host.groups
in_kubernetes = "kubernetes" in host.groups

if GROUP in host.groups:
    preflight()
    barrier(name="Every machine may be changed")
    machine()
    container_runtime()
    kubernetes_packages()
    if host == cluster():
        control_plane()
    barrier(name="The control plane serves")
    planes = hosts.get_group("control_plane")
    for other in host.loop([one for one in planes if one != cluster()]):  # etcd takes one new member at a time
        if host == other:
            control_plane_joins()
        barrier(name=f"{short_name(other)} is of the control plane")
    if host not in planes:
        worker()
    barrier(name="Every machine is a Node")
base()
if is_node:
    baseline_gone()
node()
if in_kubernetes:
    kubernetes()
barrier(name="Every node has its pod network")
if is_node:
    pods()
barrier(name="Every pod has its addresses")
if is_node:
    workload()
    agent()
barrier(name="Every agent serves")
if GROUP in host.groups and host == cluster():
    dns_spread(name="DNS is not on one machine alone")
if in_kubernetes:
    ready()
