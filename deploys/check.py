"""Checks on every node whether it serves; for a node that does not, the output of `socklb check` is printed.

pyinfra inventory deploys/check.py
"""

from pyinfra.context import host

from roles.agent.operations import check

if "nodes" in host.groups:
    check(name="socklb check")
