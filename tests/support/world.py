"""The pods, servers and addresses of tests/cluster/upstream.

with built(cluster) as world:
    world.serve(world.endpoints["e2e-1"])                       # the Service e2e, at VIP and port 80, TCP and UDP
    world.hits(world.pods["client"], "http", VIP["IPv4"])       # {"e2e-1"}
"""

import contextlib
import json
from collections.abc import Generator, Mapping, Sequence
from ipaddress import ip_interface
from typing import Any

from inventory.place import Place, pod_by_hand
from tests.support.cluster import Cluster
from tests.support.manifests import Endpoint, Manifests, documents, port
from tests.support.netexec import Request, ask, end, serve

SERVERS = {"e2e-1": "w1", "e2e-2": "w2", "e2e-3": "w2"}
CLIENTS = {"client": "w1", "client-2": "w2"}  # pods of the workload role
HOST_PORT = 8090  # where a process of w2 itself serves
VIP = {"IPv4": "10.96.0.200", "IPv6": "fd00:10:96::c8"}
LOAD_BALANCER = {"IPv4": "203.0.113.80", "IPv6": "2001:db8::80"}
EXTERNAL = {"IPv4": "203.0.113.250", "IPv6": "2001:db8::250"}
LOOPBACK = {"IPv4": "127.0.0.1", "IPv6": "::1"}
ROUTED = ("203.0.113.0/24", "2001:db8::/32")  # what the machine outside sends to a node
NODE_PORT = 31080
BOTH = (port(80), port(80, "UDP"))
NODE_PORTS = (port(80, node_port=NODE_PORT), port(80, "UDP", node_port=NODE_PORT))
FAMILY_AT = {"IPv4": 0, "IPv6": 1}


class World:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.manifests = Manifests(cluster, "upstream.yaml")
        self.outside = cluster.node("outside")
        self.nodes = cluster.nodes
        self.pods = {
            name: pod_by_hand(name, cluster.node(node).entry.host) for name, node in (SERVERS | CLIENTS).items()
        }
        self.node_addresses = {name: _addresses(place) for name, place in self.nodes.items()}
        self.pod_addresses = {
            pod["name"]: pod["addresses"]
            for node in self.nodes.values()
            for pod in json.loads(node.output("pod", "list", "--json"))
        }
        self.endpoints = {name: Endpoint(self.pod_addresses[name], node) for name, node in SERVERS.items()}
        self.on_host = Endpoint(self.node_addresses["w2"], "w2")

    def serve(
        self, *endpoints: Endpoint, name: str = "e2e", ports: Sequence[Mapping[str, Any]] = BOTH, **spec: Any
    ) -> None:
        """Put a Service: with both ClusterIPs and TCP and UDP on port 80 if nothing else is said."""
        if spec.get("type") != "ExternalName":
            spec.setdefault("clusterIPs", list(VIP.values()))
        self.manifests.put(name, documents(name, endpoints, ports, **spec))

    def node(self, name: str, family: str) -> str:
        return self.node_addresses[name][FAMILY_AT[family]]

    def pod(self, name: str, family: str) -> str:
        return self.pod_addresses[name][FAMILY_AT[family]]

    def outside_address(self, family: str) -> str:
        return _addresses(self.outside)[FAMILY_AT[family]]

    def hits(self, place: Place, kind: str, address: str, number: int = 80, times: int = 40) -> set[str]:
        """Ask so often that every endpoint is met, and give who or what answered."""
        return set(ask(place, *[Request(kind, address, number)] * times, how="until silence"))

    def answers(self, place: Place, kind: str, address: str, number: int = 80, **more: Any) -> list[str]:
        """Ask once. A list, as from `ask`."""
        return ask(place, Request(kind, address, number, **more))

    def from_outside_by(self, node: str) -> None:
        """Let the machine outside send what is for load balancers and external addresses to this node."""
        for network, family in zip(ROUTED, FAMILY_AT, strict=True):
            self.outside.output("ip", "route", "replace", network, "via", self.node(node, family))

    @contextlib.contextmanager
    def server(self, pod: str, name: str, ports: Sequence[int]) -> Generator[None]:
        """Another server in a pod, which ends with the block."""
        process = serve(self.pods[pod], name, self.pod_addresses[pod], ports)
        try:
            yield
        finally:
            end(process)


@contextlib.contextmanager
def built(cluster: Cluster) -> Generator[World]:
    """Make the pods and their servers, and remove them and all that was put."""
    with contextlib.ExitStack() as undo:
        for name, node in SERVERS.items():
            undo.callback(cluster.node(node).output, "pod", "delete", name)
            cluster.node(node).output("pod", "delete", name)  # what an interrupted run left
            cluster.node(node).output("pod", "add", name)
        world = World(cluster)
        for name in SERVERS:
            undo.callback(end, serve(world.pods[name], name, world.pod_addresses[name], (8080, 8081)))
        undo.callback(end, serve(world.nodes["w2"], "w2", world.node_addresses["w2"], (HOST_PORT,)))
        world.from_outside_by("w1")
        for network in ROUTED:
            undo.callback(world.outside.output, "ip", "route", "delete", network)
        for node in world.nodes.values():  # real nodes have a way for what is nobody's; this one ends outside
            for family, flag in (("IPv4", "-4"), ("IPv6", "-6")):
                undo.callback(node.output, "ip", flag, "route", "delete", "default")
                node.output("ip", flag, "route", "replace", "default", "via", world.outside_address(family))
        undo.callback(world.manifests.clear)
        yield world


def _addresses(node: Place) -> list[str]:
    return [str(ip_interface(address).ip) for address in node.entry.host.data.addresses]
