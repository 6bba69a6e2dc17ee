"""The positions of nodes, pods and Services in the drawing of a cluster, and the lines from a Service to its pods.

Services are above, nodes below with their pods inside. A Service's line runs at its own height, down the gutter of a
node and into the pod, so that no line crosses a box.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from labs.engine.cluster import Cluster, Node, Pod, Service
from labs.engine.language import gettext as _

NODE, GAP, POD, HEAD, GUTTER = 212.0, 16.0, 46.0, 48.0, 44.0
SERVICE, SERVICE_HEIGHT, BUS = 170.0, 62.0, 9.0


@dataclass(frozen=True)
class Box:
    name: str
    lines: Sequence[str]
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Line:
    service: int  # its number among the Services, which decides its colour
    points: str


@dataclass(frozen=True)
class Topology:
    services: Sequence[Box]
    nodes: Sequence[Box]
    pods: Sequence[Box]
    others: Sequence[Box]
    lines: Sequence[Line]
    width: float
    height: float


def topology(cluster: Cluster) -> Topology:
    services = [_service(service, at) for at, service in enumerate(cluster.services.values())]
    top = SERVICE_HEIGHT + GAP + BUS * len(services) + GAP
    by_node = {name: [pod for pod in cluster.pods.values() if pod.node == name] for name in cluster.nodes}
    height = HEAD + max((len(pods) for pods in by_node.values()), default=0) * (POD + 8) + 8
    nodes = [_machine(node, at, top, height) for at, node in enumerate(cluster.nodes.values())]
    pods = {
        pod.name: _pod(pod, nodes[at], row)
        for at, standing in enumerate(by_node.values())
        for row, pod in enumerate(standing)
    }
    others = [_machine(node, len(nodes) + at, top, HEAD) for at, node in enumerate(cluster.others.values())]
    lanes = min(BUS, (GUTTER - 14) / max(1, len(services)))
    lines = [
        Line(at, _bus(box, at, lanes * at, pods[pod.name]))
        for at, (name, box) in enumerate(zip(cluster.services, services, strict=True))
        for pod in cluster.serving(name)
    ]
    width = max([box.x + box.width for box in (*services, *nodes, *others)], default=NODE)
    return Topology(services, nodes, [*pods.values()], others, lines, width + 1, top + height + 1)


def ports(service: Service) -> list[str]:
    """Return its ports in the reader's notation: `80/TCP, NodePort 32000`."""
    return [
        f"{port.port}/{port.protocol}" + (f", NodePort {port.node_port}" if port.node_port else "")
        for port in service.ports
    ]


def _service(service: Service, at: int) -> Box:
    lines = [service.addresses[0] if service.addresses else _("without an address"), *ports(service)[:1]]
    return Box(service.name, lines, (SERVICE + GAP) * at + 1, 1, SERVICE, SERVICE_HEIGHT)


def _machine(node: Node, at: int, y: float, height: float) -> Box:
    return Box(node.name, node.addresses[:1], (NODE + GAP) * at + 1, y, NODE, height)


def _pod(pod: Pod, node: Box, row: int) -> Box:
    y = node.y + HEAD + row * (POD + 8)
    return Box(pod.name, pod.addresses[:1], node.x + GUTTER, y, NODE - GUTTER - 10, POD)


def _bus(service: Box, at: int, lane: float, pod: Box) -> str:
    """Return a path: down from the Service, along at its own height, down its own lane of the node's gutter, into the
    pod.
    """
    start = service.x + service.width / 2
    along = service.y + service.height + GAP + BUS * at
    gutter, middle = pod.x - GUTTER + 8 + lane, pod.y + pod.height / 2
    points = [(start, service.y + service.height), (start, along), (gutter, along), (gutter, middle), (pod.x, middle)]
    return " ".join(f"{x:g},{y:g}" for x, y in points)
