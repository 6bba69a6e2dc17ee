"""Brings the cluster to where a lab starts: all pods and servers up, the agent serving on every node.

pyinfra inventory deploys/lab.py
"""

from pyinfra import local

local.include("deploys/cluster.py")
