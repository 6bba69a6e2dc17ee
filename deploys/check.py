"""Tries on every node whether it serves; what `socklb check` says is printed for a node that does not.

pyinfra inventory deploys/check.py
"""

from pyinfra.context import host

from roles.agent.operations import check

if "nodes" in host.groups:
    check(name="socklb check")
