"""Which Node has which network of pods: a Node's podCIDRs are accepted within pod_cidrs, and never against another
Node.

    networks = PodNetworks(["10.244.0.0/16"])
    networks.update({"w2": node, "w3": None})
    networks.held        # {Network: "w2"}: no two of them overlap
    networks.refused     # {"w3": ["10.0.0.0/8 is not within pod_cidrs …"]}

A kubelet may delete and create its own Node, and so set any podCIDRs: a network that another Node has, or all
addresses. The first Node to have a network keeps it as long as it claims it; among Nodes that come together, the one
that was created first. Pure.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from socklb.api.addresses import Network
from socklb.api.objects import Node


class Claim(NamedTuple):
    """What a Node asks for. In sorted order, the oldest Node is first."""

    created: str  # RFC 3339 in UTC, so that the texts sort by time
    node: str
    networks: tuple[Network, ...]


class PodNetworks:
    """See the module."""

    def __init__(self, allowed: Iterable[str]) -> None:
        """Start without any Node; `allowed` are the networks of all pods."""
        self._allowed = tuple(map(Network.parse, allowed))
        self._claims: dict[str, Claim] = {}
        self._order: list[Network] = []  # of `held`
        self.held: dict[Network, str] = {}
        self.refused: dict[str, list[str]] = {}

    def update(self, nodes: Mapping[str, Node | None]) -> None:
        """Take over Nodes, and None for those that were deleted. Another Node may wait for what one gives up."""
        for name, node in nodes.items():
            networks = tuple(map(Network.parse, node.spec.podCIDRs)) if node else ()
            for network in self._claims[name].networks if name in self._claims else ():
                if network not in networks and self.held.get(network) == name:
                    self._give_up(network)
            if node:
                self._claims[name] = Claim(node.metadata.creationTimestamp, name, networks)
            else:
                self._claims.pop(name, None)
        again = self.refused.keys() | nodes.keys()
        self.refused = {}
        for claim in sorted(self._claims[name] for name in again & self._claims.keys()):
            if reasons := [reason for network in claim.networks if (reason := self._take(network, claim.node))]:
                self.refused[claim.node] = reasons

    def _take(self, network: Network, node: str) -> str:
        """Give a network to a Node; return why not, or an empty text."""
        if not any(one.bits <= network.bits and one.has(network.address) for one in self._allowed):
            return f"{network} is not within pod_cidrs ({', '.join(map(str, self._allowed))})"
        overlap = self._overlapping(network)
        if overlap is None:
            insort(self._order, network)
            self.held[network] = node
        elif self.held[overlap] != node:
            return f"{network} overlaps {overlap} of Node {self.held[overlap]}, which had it first"
        elif overlap != network:
            return f"{network} overlaps {overlap} of the same Node"
        return ""

    def _overlapping(self, network: Network) -> Network | None:
        """Return the network of `held` that shares addresses with this one: one of the two contains the other."""
        place = bisect_left(self._order, network)
        for other in self._order[max(0, place - 1) : place + 1]:  # no two overlap, so only neighbours can
            wide, narrow = sorted((network, other), key=lambda one: one.bits)
            if wide.has(narrow.address):
                return other
        return None

    def _give_up(self, network: Network) -> None:
        del self.held[network]
        self._order.remove(network)
