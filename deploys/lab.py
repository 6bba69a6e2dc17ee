"""Builds the cluster and does a lab on it: each step is an operation, which fails if a claim is false.

pyinfra inventory deploys/lab.py --data lab=01
"""

from pyinfra import local
from pyinfra.context import host
from pyinfra.context import inventory as hosts

from roles.lab import step, steps
from roles.operations import barrier

local.include("deploys/cluster.py")

lab = host.data.get("lab", "01")
barrier(name="The cluster is up")
if host == hosts.get_group("control_plane")[0]:  # a step is about the whole cluster; one host represents it
    for number, title in host.loop(steps(lab)):
        step(name=f"Lab {lab}, step {number}: {title}", lab=lab, number=number)
