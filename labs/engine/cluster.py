"""The cluster as a lab sees it: nodes, pods and Services by name, as plain data that evidence can store.

    cluster.backends("web")                          {"web-1": Endpoint("10.244.1.2", 8080), ...}
    cluster.services["web"].cluster_ip(V6)

A snapshot of it is stored with a lab's evidence, so that a check needs to ask nobody; labs.engine.target reads it. On
every inventory the pods of the workload have the same names, such as `client` and `web-1`; `itself` is the name by
which a pod answers, if that differs.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from labs.engine.errors import CannotRunError
from labs.engine.ladder import Names
from labs.engine.packet import Endpoint

V4, V6 = 4, 6


@dataclass(frozen=True)
class Node:
    """A node, or another machine: the client outside."""

    name: str
    addresses: tuple[str, ...]
    interface: str = "eth0"  # the interface with its addresses, towards the other nodes
    systemd: bool = False  # whether systemd manages its agent

    def address(self, family: int = V4) -> str:
        return of_family(self.addresses, family)


@dataclass(frozen=True)
class Pod:
    name: str
    node: str
    kind: str  # the Service that it serves, or `client`; empty for a pod that somebody added
    addresses: tuple[str, ...]
    itself: str = ""  # the name by which it answers, if that is not its name here
    uid: str = ""  # in Kubernetes

    def address(self, family: int = V4) -> str:
        return of_family(self.addresses, family)


@dataclass(frozen=True)
class Port:
    name: str
    protocol: str  # TCP or UDP
    port: int
    target: int
    node_port: int | None = None


@dataclass(frozen=True)
class Service:
    name: str
    kind: str  # the kind of the pods that serve it
    addresses: tuple[str, ...]
    ports: tuple[Port, ...]
    balancers: tuple[str, ...] = ()  # of type LoadBalancer: the addresses in its status
    health: int | None = None  # healthCheckNodePort, under externalTrafficPolicy Local

    def port(self, name: str = "") -> Port:
        """Return the port with this name; without a name, the first."""
        return next(port for port in self.ports if name in ("", port.name))

    def cluster_ip(self, family: int = V4, port: str = "") -> Endpoint:
        return Endpoint(of_family(self.addresses, family), self.port(port).port)

    def node_port(self, node: Node, family: int = V4, port: str = "") -> Endpoint:
        number = self.port(port).node_port
        if number is None:
            raise CannotRunError(f"Service {self.name} has no NodePort; its ports: {self.ports}")
        return Endpoint(node.address(family), number)

    def load_balancer(self, family: int = V4, port: str = "") -> Endpoint:
        return Endpoint(of_family(self.balancers, family), self.port(port).port)

    def health_port(self, node: Node, family: int = V4) -> Endpoint:
        if self.health is None:
            raise CannotRunError(f"Service {self.name} has no health-check port")
        return Endpoint(node.address(family), self.health)


@dataclass(frozen=True)
class Cluster:
    inventory: str = ""
    nodes: dict[str, Node] = field(default_factory=dict[str, Node])
    pods: dict[str, Pod] = field(default_factory=dict[str, Pod])
    services: dict[str, Service] = field(default_factory=dict[str, Service])
    others: dict[str, Node] = field(default_factory=dict[str, Node])  # machines that are not nodes: the client outside
    control_plane: str = ""  # the node where kubectl has the API and an administrator's credentials; "" without an API

    def serving(self, service: str) -> list[Pod]:
        """Return the pods of a Service."""
        kind = self.services[service].kind
        return [pod for pod in self.pods.values() if kind and pod.kind == kind]

    def backends(self, service: str, family: int = V4, port: str = "") -> dict[str, Endpoint]:
        """Return the pods that serve, and their endpoints."""
        target = self.services[service].port(port).target
        return {pod.name: Endpoint(pod.address(family), target) for pod in self.serving(service)}

    def names(self) -> Names:
        """Return the name for readers of every address."""
        of_pods = {address: pod.name for pod in self.pods.values() for address in pod.addresses}
        machines = [*self.nodes.values(), *self.others.values()]
        of_nodes = {address: machine.name for machine in machines for address in machine.addresses}
        services = self.services.values()
        of_services = {address: f"svc/{s.name}" for s in services for address in (*s.addresses, *s.balancers)}
        return of_pods | of_nodes | of_services


def plain(address: str) -> str:
    """Return an address without its prefix length, in the notation of captures."""
    return str(ipaddress.ip_interface(address).ip)


def of_family(addresses: Iterable[str], family: int) -> str:
    for address in addresses:
        if ipaddress.ip_address(address).version == family:
            return address
    raise CannotRunError(f"none of {', '.join(addresses)} is an IPv{family} address")
