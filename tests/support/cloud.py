"""A cloud's load balancers for a cluster without a cloud: documentation addresses, routed to the cluster's nodes.

python -m tests.support.cloud KUBECONFIG    where the nodes are one hop away; prints "ready", runs until it is ended

It does what a cloud's controller does: a Service of type LoadBalancer gets a finalizer, an address of each of its
families and, under Cluster, all nodes, under Local those whose health check answers (KEP-1669); connections are spread
over them, those of a Service with affinity go to one. A packet arrives at a node with the load balancer's address as
destination. What is sent to an address that was taken back is lost, as on the internet: no error tells its sender.
"""

import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from kubernetes import client, config

SINK = "cloud-sink"  # a device that loses what is sent by it
INTERVAL = 0.5  # seconds between two looks at the Services
RANGES = {"IPv4": ip_network("203.0.113.0/24"), "IPv6": ip_network("2001:db8:113::/120")}  # RFC 5737, RFC 3849
FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
CLIENTS = {"IPv4": "198.51.100.1", "IPv6": "2001:db8:51::1"}  # from where they are asked: not a node's network
Address = IPv4Address | IPv6Address
CONFLICT, GONE = 409, 404  # somebody was faster; the next look sees what is


class Cloud:
    """Which addresses were given to whom, and the nodes that each is routed to."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self._free = {family: iter(network.hosts()) for family, network in RANGES.items()}
        self._given: dict[str, list[Address]] = {}
        self._routes: dict[Address, list[Address]] = {}
        self._nodes = [
            [ip_address(one.address) for one in node.status.addresses if one.type == "InternalIP"]
            for node in api.list_node().items
        ]

    def look(self) -> None:
        """Make every Service's load balancer what the Service says."""
        services = {service.metadata.uid: service for service in self._api.list_service_for_all_namespaces().items}
        for uid in self._given.keys() - services.keys():
            self._withdraw(uid)
        for uid, service in services.items():
            wanted = service.spec.type == "LoadBalancer" and not service.metadata.deletion_timestamp
            try:
                if wanted and not service.spec.load_balancer_class:
                    self._provide(uid, service)
                elif FINALIZER in (service.metadata.finalizers or []):
                    self._withdraw(uid)
                    self._release(service)
            except client.ApiException as error:
                if error.status not in {CONFLICT, GONE}:
                    raise

    def _provide(self, uid: str, service: Any) -> None:
        name, namespace = service.metadata.name, service.metadata.namespace
        if FINALIZER not in (service.metadata.finalizers or []):
            service.metadata.finalizers = [*(service.metadata.finalizers or []), FINALIZER]
            service = self._api.replace_namespaced_service(name, namespace, service)
        if uid not in self._given:
            self._given[uid] = [next(self._free[family]) for family in service.spec.ip_families]
        nodes = [node for node in self._nodes if answers(node, service.spec)]
        if service.spec.session_affinity == "ClientIP":
            nodes = nodes[:1]
        for address in self._given[uid]:
            self._route(address, [own for node in nodes for own in node if own.version == address.version])
        wanted = [{"ip": str(address), "ipMode": "VIP"} for address in self._given[uid]]
        if [one.ip for one in service.status.load_balancer.ingress or []] != [one["ip"] for one in wanted]:
            service.status.load_balancer.ingress = wanted
            self._api.replace_namespaced_service_status(name, namespace, service)

    def end(self) -> None:
        """Take the addresses back from the network; the Services keep what they say."""
        for uid in list(self._given):
            self._withdraw(uid)

    def _withdraw(self, uid: str) -> None:
        for address in self._given.pop(uid, []):
            self._route(address, [])

    def _release(self, service: Any) -> None:
        name, namespace = service.metadata.name, service.metadata.namespace
        if service.status.load_balancer.ingress:
            service.status.load_balancer.ingress = None
            service = self._api.replace_namespaced_service_status(name, namespace, service)
        service.metadata.finalizers.remove(FINALIZER)
        self._api.replace_namespaced_service(name, namespace, service)

    def _route(self, address: Address, nodes: list[Address]) -> None:
        if self._routes.get(address, []) == nodes:
            return
        hops = [word for node in nodes for word in ("nexthop", "via", str(node))] or ["dev", SINK]
        source = ["src", CLIENTS[f"IPv{address.version}"]]
        run("ip", f"-{address.version}", "route", "replace", str(address), *source, *hops)
        self._routes[address] = nodes


def answers(node: list[Address], spec: Any) -> bool:
    """Whether the node is to get a Service's connections."""
    if spec.external_traffic_policy != "Local":
        return True
    host = f"[{node[0]}]" if node[0].version == IPv6Address.version else str(node[0])
    try:
        with urllib.request.urlopen(f"http://{host}:{spec.health_check_node_port}/healthz", timeout=1):
            return True
    except (urllib.error.URLError, OSError):
        return False


def run(*words: str) -> None:
    subprocess.run(words, check=True)


def main() -> None:
    config.load_kube_config(sys.argv[1])
    cloud = Cloud(client.CoreV1Api())
    own = [str(ip_network(address)) for address in CLIENTS.values()]
    for address in own:
        run("ip", "address", "replace", address, "dev", "lo")
    subprocess.run(["ip", "link", "delete", SINK], stderr=subprocess.DEVNULL, check=False)
    run("ip", "link", "add", SINK, "arp", "off", "up", "type", "veth", "peer", "name", f"{SINK}-end")
    run("ip", "link", "set", f"{SINK}-end", "up")
    for name in ("ipv4", "ipv6"):  # by connection, not by client
        run("sysctl", "--quiet", f"net.{name}.fib_multipath_hash_policy=1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    print("ready", flush=True)
    try:
        while True:
            cloud.look()
            time.sleep(INTERVAL)
    finally:
        cloud.end()
        run("ip", "link", "delete", SINK)
        for address in own:
            run("ip", "address", "delete", address, "dev", "lo")


if __name__ == "__main__":
    main()
