"""The local cluster as a lab reads it, without one that runs: its pods get their addresses in the inventory's order."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from ipaddress import ip_interface, ip_network
from typing import Any

import yaml

from inventory import hosts
from labs.engine.cluster import Cluster, Node, Pod, Port, Service
from labs.engine.errors import LabError
from labs.engine.local import service_of, whole
from labs.engine.model import Lab
from labs.engine.places import Place
from labs.engine.target import Document


def local(lab: Lab | None = None) -> Cluster:
    """Return it, with the Services that a lab brings."""
    cluster = _workload()
    if lab is None or not lab.objects.exists():
        return cluster
    objects = whole(f"lab-{lab.number}", [*yaml.safe_load_all(lab.objects.read_text())], cluster)
    brought = [service_of(document) for document in objects if document["kind"] == "Service"]
    return replace(cluster, services=cluster.services | {service.name: service for service in brought})


def _workload() -> Cluster:
    inventory = hosts.load(hosts.path("local"))
    machines = {
        hosts.short_name(host): Node(hosts.short_name(host), tuple(_plain(one) for one in host.data.addresses))
        for host in inventory
    }
    pods = {
        name: Pod(name, hosts.short_name(host), kind, tuple(str(ip_network(c)[at]) for c in host.data.pod_cidrs))
        for host in inventory.get_group("nodes")
        for at, (name, kind) in enumerate(host.data.pods.items(), start=2)
    }
    services = {name: _service(name, said) for name, said in next(iter(inventory)).data.services.items()}
    outside = {"outside": machines.pop("outside")}
    return Cluster("local", machines, pods, services, outside)


class Target:
    """A cluster that nothing runs on."""

    def __init__(self, cluster: Cluster | None = None) -> None:
        self.cluster = cluster or local()

    def read(self) -> Cluster:
        return self.cluster

    def place(self, name: str) -> Place:
        raise LabError(f"nothing runs here, and nothing at {name}")

    def apply(self, name: str, documents: Sequence[Document], without: Collection[str] = ()) -> None:
        """Nobody serves it."""

    def remove(self, name: str) -> None:
        """Nobody served it."""


def _plain(address: str) -> str:
    return str(ip_interface(address).ip)


def _service(name: str, said: dict[str, Any]) -> Service:
    ports = [Port(p["name"], p["protocol"], p["port"], p["targetPort"], p.get("nodePort")) for p in said["ports"]]
    return Service(name, name, tuple(said["addresses"]), tuple(ports))
