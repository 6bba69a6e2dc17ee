"""The ways that are measured, each with its two ends."""

from __future__ import annotations

from typing import NamedTuple

from bench.services import OF_HERE, OF_HERE_LOCAL, OF_THERE, Asked


class Way(NamedTuple):
    """A way between two ends, by fields of `Site`.

    asked: the Service, by its NodePort or else by its ClusterIP.
    hooked: whether the client's socket is seen by hooks.
    """

    label: str
    client: str
    server: str
    asked: Asked
    by_node_port: bool = False
    hooked: bool = False


SAME_NODE = Way("pod to pod, same node", "client", "here", OF_HERE, hooked=True)
OTHER_NODE = Way("pod to pod, other node", "client", "there", OF_THERE, hooked=True)
POD_HERE = Way("outside to NodePort, pod here", "outside", "here", OF_HERE, by_node_port=True)
POD_HERE_LOCAL = Way("outside to NodePort, policy Local", "outside", "here", OF_HERE_LOCAL, by_node_port=True)
POD_THERE = Way("outside to NodePort, pod on another node", "outside", "there", OF_THERE, by_node_port=True)
UNHOOKED = Way("unhooked pod to ClusterIP, same node", "unhooked", "here", OF_HERE)
