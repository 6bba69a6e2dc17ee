"""lab show: the cluster: nodes with their pods, addresses, and Services with what stands behind them.

--mermaid prints the same as a graph that GitHub and most editors draw.
"""

import argparse
from collections.abc import Iterator

from labs.engine.cluster import Cluster, Node, Service
from labs.engine.screen import Screen
from labs.engine.target import open_target


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mermaid", action="store_true", help="as a Mermaid graph")


def run(options: argparse.Namespace) -> int:
    cluster, screen = open_target().cluster, Screen()
    for line in mermaid(cluster) if options.mermaid else picture(cluster):
        screen.line(line)
    return 0


def picture(cluster: Cluster) -> Iterator[str]:
    width = max(len(name) for name in [*cluster.nodes, *cluster.pods, *cluster.others]) + 4
    for node in cluster.nodes.values():
        yield f"{node.name:<{width}}{'  '.join(node.addresses)}"
        pods = [pod for pod in cluster.pods.values() if pod.node == node.name]
        for pod in pods:
            branch = "└─" if pod is pods[-1] else "├─"
            yield f"{branch} {pod.name:<{width - 3}}{'  '.join(pod.addresses)}"
    for node in cluster.others.values():
        yield f"{node.name:<{width}}{'  '.join(node.addresses)}   (no node)"
    yield ""
    yield from table(
        [("SERVICE", "ADDRESSES", "PORTS", "PODS"), *(_row(cluster, service) for service in cluster.services.values())]
    )


def table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def mermaid(cluster: Cluster) -> Iterator[str]:
    yield "flowchart LR"
    for node in [*cluster.nodes.values(), *cluster.others.values()]:
        yield f'  subgraph {_id(node.name)}["{node.name}<br>{node.addresses[0]}"]'
        yield from (f"    {line}" for line in _pods(cluster, node))
        yield "  end"
    for service in cluster.services.values():
        yield f'  {_id("svc/" + service.name)}(["svc/{service.name}<br>{", ".join(service.addresses[:1])}"])'
        yield from (f"  {_id('svc/' + service.name)} --> {_id(pod.name)}" for pod in cluster.serving(service.name))


def _pods(cluster: Cluster, node: Node) -> list[str]:
    pods = [pod for pod in cluster.pods.values() if pod.node == node.name]
    return [f'{_id(pod.name)}["{pod.name}<br>{pod.addresses[0]}"]' for pod in pods] or [f"{_id(node.name)}_[ ]"]


def _id(name: str) -> str:
    return name.replace("-", "_").replace("/", "_")


def _row(cluster: Cluster, service: Service) -> tuple[str, ...]:
    ports = ", ".join(
        f"{port.port}/{port.protocol}" + (f" (NodePort {port.node_port})" if port.node_port else "")
        for port in service.ports
    )
    pods = ", ".join(pod.name for pod in cluster.serving(service.name))
    return service.name, ", ".join(service.addresses), ports, pods or "none"
