"""Services for the tests of the packet path: one endpoint, in pod `client-2` on w2, which tells whom it sees.

with shown(cluster):
    ask(cluster.node("outside"), Request("http", "172.18.0.3", SHOWN, "clientip"))

SHOWN and LOCAL are NodePorts for TCP and UDP, with externalTrafficPolicy Cluster and Local; EMPTY has no endpoint.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from inventory.place import Place
from tests.support.cluster import Cluster
from tests.support.manifests import Endpoint, Manifests, documents, port
from tests.support.netexec import end, serve

SHOWN, LOCAL, EMPTY = 31811, 31812, 31813
SHOWN_IPS = ["10.96.0.211", "fd00:10:96::d3"]
OUTSIDE = ["172.18.0.9", "fd00:172:18::9"]
NODES = {
    "cp": ["172.18.0.2", "fd00:172:18::2"],
    "w1": ["172.18.0.3", "fd00:172:18::3"],
    "w2": ["172.18.0.4", "fd00:172:18::4"],
}


@contextmanager
def shown(cluster: Cluster) -> Iterator[None]:
    """Serve them while the block runs; a server at port 8080 of the machine outside tells whom it sees too."""
    folder = Manifests(cluster, "outside.yaml")
    addresses = cluster.addresses("client-2")
    with ExitStack() as stack:
        for place, name, own in (
            (cluster.pod("client-2"), "client-2", addresses),
            (cluster.node("outside"), "outside", OUTSIDE),
        ):
            stack.callback(end, serve(place, name, own, [8080]))
        stack.callback(folder.clear)
        endpoints = [Endpoint(addresses, "w2")]
        for name, node_port, policy, ips, served_by in (
            ("shown", SHOWN, "Cluster", SHOWN_IPS, endpoints),
            ("local", LOCAL, "Local", ["10.96.0.212", "fd00:10:96::d4"], endpoints),
            ("nobody", EMPTY, "Cluster", ["10.96.0.213", "fd00:10:96::d5"], []),
        ):
            ports = [port(80, kind, node_port=node_port) for kind in ("TCP", "UDP")]
            spec = {"type": "NodePort", "clusterIP": ips[0], "clusterIPs": ips, "externalTrafficPolicy": policy}
            folder.put(name, documents(name, served_by, ports, **spec))
        yield


@contextmanager
def way_out(node: Place) -> Iterator[None]:
    """Give a node a route for Service addresses: it has no default route, without which nothing would be forwarded."""
    routes = list(zip(("10.96.0.0/16", "fd00:10:96::/112"), OUTSIDE, strict=True))
    try:
        for destination, via in routes:
            node.output("ip", "route", "add", destination, "via", via)
        yield
    finally:
        for destination, _ in routes:
            node.run("ip", "route", "delete", destination)
