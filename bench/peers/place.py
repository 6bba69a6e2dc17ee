"""Networks for the peers: one with the control plane, and for each peer a node, a pod for clients and one for servers.

    plane 192.0.2.1, 172.20.N.1 -- 172.20.N.2 node -- 10.244.1.2 client
                                               |
                                              10.244.2.2 servers, and every address of 10.128.0.0/10

There is no route out of any of them. Every endpoint is real: the servers' namespace answers at each of its addresses.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self

from bench.networks import NODE_SETTINGS, SETTINGS, End, connect, ip, new_network, run_in

API = "192.0.2.1"
POD_CIDRS = ("10.244.0.0/16", "10.128.0.0/10")


def plane_network(opened: ExitStack) -> int:
    """Return a namespace for the control plane."""
    network = new_network(opened)
    ip(network, f"address add {API}/32 dev lo")
    return network


class Place(NamedTuple):
    """Descriptors of the namespaces of one peer."""

    address: str
    node: int
    client: int
    servers: int

    @classmethod
    def make(cls, opened: ExitStack, plane: int, number: int) -> Self:
        """Make the namespaces of a peer, until `opened` is closed."""
        near, address = f"172.20.{number}.1", f"172.20.{number}.2"
        place = cls(address, *(new_network(opened) for _ in range(3)))
        for network in place.networks:
            run_in(network, "sysctl", "-qw", *SETTINGS)
        run_in(place.node, "sysctl", "-qw", *NODE_SETTINGS)
        connect(End(place.node, "eth0", (address,)), End(plane, f"node{number}", (near,)))
        connect(End(place.client, "eth0", ("10.244.1.2",)), End(place.node, "client", ("10.244.1.1",)))
        connect(End(place.servers, "eth0", ("10.244.2.2",)), End(place.node, "servers", ("10.244.2.1",)))
        ip(place.node, f"route add default via {near}", f"route add {POD_CIDRS[1]} via 10.244.2.2")
        ip(place.client, "route add default via 10.244.1.1")
        ip(place.servers, "route add default via 10.244.2.1", f"route add local {POD_CIDRS[1]} dev lo")
        return place

    @property
    def networks(self) -> tuple[int, int, int]:
        """All of them."""
        return self.node, self.client, self.servers


def words(network: int, cgroup: Path) -> list[str]:
    """Return the words before a command that runs in this namespace and this cgroup."""
    script = f'echo 0 >{cgroup}/cgroup.procs && exec nsenter --net=/proc/{os.getpid()}/fd/{network} "$@"'
    return ["sh", "-c", script, "sh"]
