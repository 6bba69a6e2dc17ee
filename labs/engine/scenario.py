"""The roles that every lab has, on every inventory. Labs name roles, never addresses.

    on.client            the pod that sends requests, on the node on.client_node
    on.asked             the node whose NodePort is used: not the client's own
    on.third             a node with a backend that is neither: it takes part in a request only as the server
    on.curl(on.node_port())                        a command of the client
    on.at_pod("pod"), on.at_uplink("asked", on.asked)      where to capture

An act gets it to build the reader's commands; a check has the same one, from the snapshot, as `seen.on`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from labs.engine.capture import Look
from labs.engine.cluster import V4, Cluster, Service
from labs.engine.errors import CannotRunError
from labs.engine.packet import Endpoint
from labs.engine.places import KUBECTL, LIMIT, Command, at

WEB, DNS, EMPTY = "web", "dns", "empty"
CURL = ("curl", "-s", "--max-time", "2")
MANY = 41  # a prime; each of three backends misses all of them once in 16 million runs
ANYTHING = "tcp or udp or icmp or icmp6"  # everything that could carry a Service address


@dataclass(frozen=True)
class Scenario:
    cluster: Cluster

    @property
    def client(self) -> str:
        return self.client_at(*self.cluster.nodes)

    @property
    def client_node(self) -> str:
        return self.cluster.pods[self.client].node

    @property
    def asked(self) -> str:
        """Return the last of the nodes that leave a third one with a backend."""
        others = [node for node in self.cluster.nodes if node != self.client_node]
        fit = [node for node in others if self._thirds(node)]
        return (fit or others)[-1]

    @property
    def third(self) -> str:
        found = self._thirds(self.asked)
        if not found:
            raise CannotRunError(f"no pod of {WEB} is on a third node: neither {self.client_node} nor {self.asked}")
        return found[0]

    def client_at(self, *nodes: str) -> str:
        """Return the first client that is a pod of one of these nodes."""
        for pod in self.cluster.pods.values():
            if pod.kind == "client" and pod.node in nodes:
                return pod.name
        raise CannotRunError(f"no client pod is on any of these nodes: {', '.join(nodes)}")

    @property
    def outside(self) -> str | None:
        """Return the client outside the cluster; None if the inventory has none."""
        return next(iter(self.cluster.others), None)

    @property
    def nodes(self) -> list[str]:
        return [*self.cluster.nodes]

    def service(self, name: str = WEB) -> Service:
        found = self.cluster.services.get(name)
        if found is None:
            raise CannotRunError(f"no Service {name}; there is: {', '.join(self.cluster.services)}")
        return found

    def cluster_ip(self, service: str = WEB, family: int = V4, port: str = "") -> Endpoint:
        return self.service(service).cluster_ip(family, port)

    def node_port(self, service: str = WEB, family: int = V4, node: str = "", port: str = "") -> Endpoint:
        """Return the NodePort, on the node `asked` or on another one."""
        return self.service(service).node_port(self.cluster.nodes[node or self.asked], family, port)

    def load_balancer(self, service: str, family: int = V4, port: str = "") -> Endpoint:
        """Return the address of a Service of type LoadBalancer."""
        return self.service(service).load_balancer(family, port)

    def health_port(self, service: str, node: str, family: int = V4) -> Endpoint:
        """Return where a load balancer asks a node whether it serves, under externalTrafficPolicy Local."""
        return self.service(service).health_port(self.cluster.nodes[node], family)

    def backends(self, service: str = WEB, family: int = V4, port: str = "") -> dict[str, Endpoint]:
        return self.cluster.backends(service, family, port)

    def backends_at(self, node: str, service: str = WEB) -> list[str]:
        """Return the pods of this node that serve."""
        return [pod.name for pod in self.cluster.serving(service) if pod.node == node]

    def address(self, name: str, family: int = V4) -> str:
        """Return the address of a pod, a node or the client outside."""
        known = {**self.cluster.others, **self.cluster.nodes, **self.cluster.pods}
        return known[name].address(family)

    def pod_called(self, said: str) -> str:
        """Return the name that a pod has here, from the name by which it answers; other text stays as it is."""
        known = {pod.itself: pod.name for pod in self.cluster.pods.values() if pod.itself}
        return known.get(said.strip(), said.strip())

    def node_of(self, said: str) -> str:
        """Return the node of the pod that answered this, or an empty text."""
        pod = self.cluster.pods.get(self.pod_called(said))
        return pod.node if pod else ""

    def pod_at(self, end: Endpoint) -> str:
        """Return the pod that has this address, or the address."""
        return next((pod.name for pod in self.cluster.pods.values() if end.address in pod.addresses), end.address)

    def curl(self, to: Endpoint, *more: str, place: str = "", hooked: bool = True) -> Command:
        return at(place or self.client, *CURL, *more, f"http://{to}/", hooked=hooked)

    def kubectl(self, *words: str, seconds: float = LIMIT) -> Command:
        """Return a command to the cluster's API as its administrator, if there is one (`cluster.control_plane`)."""
        return at(self.cluster.control_plane, *KUBECTL, *words, seconds=seconds)

    def curl_many(self, to: Endpoint, place: str = "") -> Command:
        """Return a command that sends MANY requests and lists who answered how often."""
        loop = f"for i in $(seq {MANY}); do {' '.join(CURL)} http://{to}/; done | sort | uniq -c"
        return at(place or self.client, "sh", "-c", loop, seconds=30)

    def at_pod(self, name: str = "pod", pod: str = "", expression: str = ANYTHING, fold: int = 12) -> Look:
        """Return a capture at a pod's own interface: the application's requests on the wire."""
        return Look(name, pod or self.client, "eth0", expression, fold)

    def at_uplink(self, name: str, node: str, hosts: Iterable[str] = (), fold: int = 12) -> Look:
        """Return a capture at a node's interface towards the others, of the traffic of the client or of these hosts."""
        wanted = " or ".join(f"host {host}" for host in hosts or (self.address(self.client),))
        return Look(name, node, self.cluster.nodes[node].interface, f"({wanted}) and (tcp or udp or icmp)", fold)

    def _thirds(self, asked: str) -> list[str]:
        """Return the nodes with a backend that are neither the client's nor `asked`."""
        serving = [pod.node for pod in self.cluster.serving(WEB)]
        return [node for node in self.cluster.nodes if node in serving and node not in (self.client_node, asked)]


def at_the_pod(on: Scenario) -> list[Look]:
    """Return the captures of a step that captures at the client's own interface only."""
    return [on.at_pod()]


def unseen_at_the_pod(on: Scenario) -> list[Look]:
    """Return the same, without showing packets, because they are too many."""
    return [on.at_pod(fold=0)]
