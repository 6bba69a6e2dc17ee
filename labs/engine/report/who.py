"""The Service, pod or node behind an address, under the name for readers.

who(Endpoint("172.18.0.4", 32000), cluster)   w2:32000, "NodePort of Service web at node w2"
who(Endpoint("10.244.2.3", 8080), cluster)    web-2:8080, "pod web-2 of Service web at node w2"
tell(packet, cluster)                         a line for a packet: from, to, and what
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from labs.engine.cluster import Cluster, Pod
from labs.engine.language import gettext as _
from labs.engine.packet import Endpoint, Packet


class Kind(StrEnum):
    SERVICE = "service"  # a Service's address: ClusterIP, NodePort
    POD = "pod"
    NODE = "node"
    OTHER = "other"


@dataclass(frozen=True)
class Who:
    end: Endpoint
    name: str  # without the port
    kind: Kind
    told: str
    called: str = ""  # what it is, in two words in the reader's language

    @property
    def port(self) -> str:
        return "" if self.end.port is None else f":{self.end.port}"


def who(end: Endpoint, cluster: Cluster) -> Who:
    looks: tuple[Callable[[Endpoint, Cluster], Who | None], ...] = (_service, _node_port, _pod, _machine)
    return next((found for look in looks if (found := look(end, cluster))), Who(end, end.address, Kind.OTHER, str(end)))


def what(packet: Packet) -> str:
    """Return what a packet is: TCP's flags, or another protocol's name and type, and the number of bytes of its
    payload.
    """
    note = packet.note if packet.protocol == "tcp" else f"{packet.protocol.upper()} {packet.note}".strip()
    return f"{note}, {packet.size} bytes" if packet.size else note


def tell(packet: Packet, cluster: Cluster) -> str:
    line = f"{who(packet.source, cluster).told} → {who(packet.target, cluster).told}: {what(packet)}"
    return f"{line}; it carries: {tell(packet.inner, cluster)}" if packet.inner else line


def _service(end: Endpoint, cluster: Cluster) -> Who | None:
    for service in cluster.services.values():
        if end.address in service.addresses:
            return Who(
                end, f"svc/{service.name}", Kind.SERVICE, f"Service {service.name} ({end})", _("Service address")
            )
    return None


def _node_port(end: Endpoint, cluster: Cluster) -> Who | None:
    found = next((node.name for node in cluster.nodes.values() if end.address in node.addresses), None)
    for service in cluster.services.values() if found else ():
        if end.port is not None and end.port in [port.node_port for port in service.ports]:
            told = f"NodePort of Service {service.name} at node {found} ({end})"
            return Who(end, found or "", Kind.SERVICE, told, "NodePort")
    return None


def _pod(end: Endpoint, cluster: Cluster) -> Who | None:
    for pod in cluster.pods.values():
        if end.address in pod.addresses:
            told = f"pod {pod.name}{_serving(pod, cluster)} at node {pod.node} ({end})"
            return Who(end, pod.name, Kind.POD, told, _("pod"))
    return None


def _machine(end: Endpoint, cluster: Cluster) -> Who | None:
    for machine in cluster.nodes.values():
        if end.address in machine.addresses:
            return Who(end, machine.name, Kind.NODE, f"node {machine.name} ({end})", _("node"))
    for machine in cluster.others.values():
        if end.address in machine.addresses:
            return Who(end, machine.name, Kind.OTHER, f"{machine.name} ({end})")
    return None


def _serving(pod: Pod, cluster: Cluster) -> str:
    served = [name for name in cluster.services if pod in cluster.serving(name)]
    return f" of Service {', '.join(served)}" if served else ""
