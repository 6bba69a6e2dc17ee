"""Builds the cluster: nodes, pods with real servers, the Services as YAML, and the agent that serves them.

pyinfra inventory deploys/cluster.py
"""

from pyinfra.context import host

from roles.agent import agent
from roles.base import base
from roles.baseline import baseline_gone
from roles.kubernetes import kubernetes, ready
from roles.node import node
from roles.operations import barrier
from roles.pods import pods
from roles.workload import workload

is_node = "nodes" in host.groups
in_kubernetes = "kubernetes" in host.groups

base()
if is_node and not in_kubernetes:
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
if in_kubernetes:
    ready()
