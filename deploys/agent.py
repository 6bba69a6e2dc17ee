"""Brings the agent of every node to the bundle in build/agent.tar: what `make build` made of the present source.

pyinfra inventory deploys/agent.py
"""

from pyinfra.context import host

from roles.agent import agent

if "nodes" in host.groups:
    agent()
