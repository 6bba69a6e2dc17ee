"""Updates the agent of every node to the bundle in build/: what `make build` made from the present source.

    pyinfra inventory deploys/agent.py

On nodes of a real cluster it proceeds host by host: the next one waits until this one serves, according to `socklb
check`. If one does not, the others keep the agent that they have.
"""

from pyinfra.context import host
from pyinfra.context import inventory as hosts

from inventory.hosts import short_name
from roles.agent import agent
from roles.agent.operations import check, gate

nodes = hosts.get_group("nodes")

if "kubernetes" not in host.groups:
    if host in nodes:
        agent()
else:
    for node in host.loop(nodes):
        if host == node:
            agent()
            check(name="It serves")
        gate(name=f"{short_name(node)} serves", nodes=[node.name])
