"""The cluster as the inventory describes it and its nodes confirm it: machines, pods and Services, by name.

    cluster = read_cluster()
    cluster.place("client").argv("curl", "-s", url)
    find_place("client")                             the same, without asking the nodes where it is not needed
    cluster.backends("web")                          {"web-1": [Endpoint("10.244.1.2", 8080), ...], ...}

Which Services there are and which pods serve them is inventory data; the pods' addresses are asked of the nodes, who
gave them.
"""

import ipaddress
import json
from dataclasses import dataclass, field
from typing import Any

from inventory import hosts
from inventory.connectors.host import NodeError
from inventory.hosts import Host
from labs.engine.errors import CannotRunError, LabError
from labs.engine.ladder import Names
from labs.engine.packet import Endpoint
from labs.engine.places import Place

V4, V6 = 4, 6


@dataclass(frozen=True)
class Pod:
    name: str
    node: str
    kind: str  # the Service that it serves, or `client`; of a pod that somebody added, empty
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Cluster:
    nodes: dict[str, Host]
    pods: dict[str, Pod]
    services: dict[str, Any]
    others: dict[str, Host] = field(default_factory=dict[str, Host])  # machines that are no nodes: the client outside

    @property
    def machines(self) -> dict[str, Host]:
        return self.nodes | self.others

    def place(self, name: str) -> Place:
        if name in self.machines:
            return Place(name, self.machines[name])
        if name in self.pods:
            return Place(name, self.nodes[self.pods[name].node], pod=True)
        raise LabError(f"no node or pod '{name}'; there is: {', '.join([*self.machines, *self.pods])}")

    def node_address(self, node: str, family: int = V4) -> str:
        return _of_family(self.nodes[node].data.addresses, family)

    def pod_address(self, pod: str, family: int = V4) -> str:
        return _of_family(self.pods[pod].addresses, family)

    def cluster_ip(self, service: str, family: int = V4) -> Endpoint:
        return Endpoint(_of_family(self.services[service]["addresses"], family), self.port(service, "port"))

    def node_port(self, service: str, node: str, family: int = V4) -> Endpoint:
        return Endpoint(self.node_address(node, family), self.port(service, "nodePort"))

    def port(self, service: str, key: str) -> int:
        """`key` is port, targetPort or nodePort, of the Service's first port."""
        return self.services[service]["ports"][0][key]

    def backends(self, service: str, family: int = V4) -> dict[str, Endpoint]:
        """The pods that serve, and where they listen."""
        port = self.port(service, "targetPort")
        return {
            pod.name: Endpoint(self.pod_address(pod.name, family), port)
            for pod in self.pods.values()
            if pod.kind == service
        }

    def names(self) -> Names:
        """Every address with the name that a reader knows it by."""
        of_pods = {address: pod.name for pod in self.pods.values() for address in pod.addresses}
        of_nodes = {plain(address): name for name, host in self.machines.items() for address in host.data.addresses}
        of_services = {
            plain(address): f"svc/{name}" for name, service in self.services.items() for address in service["addresses"]
        }
        return of_pods | of_nodes | of_services


def read_cluster() -> Cluster:
    """Read the inventory and ask every node for its pods.

    Raises:
        CannotRunError: a node does not answer, or the inventory is none that labs run on.
    """
    inventory = hosts.load(hosts.path())
    machines = {hosts.short_name(host): host for host in inventory}
    nodes = {name: host for name, host in machines.items() if host in inventory.get_group("nodes")}
    if not all("pods" in host.data.dict() for host in nodes.values()):
        raise CannotRunError(
            f"labs run on the local cluster, and the inventory '{hosts.path().stem}' is another one: a kubelet makes "
            f"its pods. Its machines: {', '.join(machines)}. Next: unset SOCKLB_INVENTORY"
        )
    pods = {pod.name: pod for name, host in nodes.items() for pod in _pods(name, host)}
    others = {name: host for name, host in machines.items() if name not in nodes}
    return Cluster(nodes, pods, next(iter(nodes.values())).data.services, others)


def find_place(name: str) -> Place:
    """Find a machine or a pod. Only a pod that the inventory does not know is looked for on the nodes."""
    for host in hosts.load(hosts.path()):
        if hosts.short_name(host) == name:
            return Place(name, host)
        if name in host.data.get("pods", {}):
            return Place(name, host, pod=True)
    return read_cluster().place(name)


def plain(address: str) -> str:
    """Without the prefix length, and spelled as captures spell it."""
    return str(ipaddress.ip_interface(address).ip)


def _pods(node: str, host: Host) -> list[Pod]:
    kinds: dict[str, str] = host.data.pods
    try:
        listed = Place(node, host).run("pod", "list", "--json")
    except NodeError as error:
        raise CannotRunError(str(error)) from error
    if listed.exit:
        raise CannotRunError(f"node {node} does not say which pods it has:\n  $ {listed.typed}\n  {listed.err.strip()}")
    return [
        Pod(pod["name"], node, kinds.get(pod["name"], ""), tuple(plain(address) for address in pod["addresses"]))
        for pod in json.loads(listed.out)
    ]


def _of_family(addresses: list[str] | tuple[str, ...], family: int) -> str:
    for address in addresses:
        if ipaddress.ip_interface(address).version == family:
            return plain(address)
    raise CannotRunError(f"none of {', '.join(addresses)} is an IPv{family} address")
