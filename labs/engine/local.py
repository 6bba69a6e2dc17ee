"""The local cluster as a target: pods made by `pod`, Services as manifests in the nodes, no API server.

What a lab applies is one more file in each node's folder of manifests, which the agents watch. An API server would
assign a Service its addresses, its NodePorts and its EndpointSlices: here they are made from the lab's number and the
pods.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import yaml

from inventory.connectors.this_machine import NodeError
from inventory.hosts import Host, Inventory
from inventory.place import Place, pod_by_hand
from labs.engine.cluster import V4, V6, Cluster, Node, Pod, Port, Service, plain
from labs.engine.errors import CannotRunError, LabError
from labs.engine.objects import balanced, first_number, service_of
from labs.engine.places import Command, Output, ask, at
from labs.engine.target import Document, machine_of, machines, unknown

FOLDER = "/etc/socklb/manifests"
FAMILIES = {V4: "IPv4", V6: "IPv6"}
FIRST_NODE_PORT = 32100  # lower numbers are the workload's
FIRST_HEALTH_PORT = 32500


class LocalTarget:
    def __init__(self, name: str, inventory: Inventory) -> None:
        self._name, self._inventory = name, inventory
        self._nodes = {name: host for name, host in machines(inventory).items() if "nodes" in host.groups}
        self._cluster: Cluster | None = None

    @property
    def cluster(self) -> Cluster:
        return self._cluster or self.read()

    def read(self) -> Cluster:
        """Read the pods from every node, and from the first one the objects that labs applied."""
        nodes = {name: _node(name, host) for name, host in self._nodes.items()}
        others = {name: _node(name, host) for name, host in machines(self._inventory).items() if name not in nodes}
        pods = {pod.name: pod for name, host in self._nodes.items() for pod in self._pods(name, host)}
        first = next(iter(self._nodes))
        known: dict[str, Any] = self._nodes[first].data.services
        services = {name: _of_inventory(name, said) for name, said in known.items()}
        applied = self._ask(at(first, "sh", "-c", f"cat {FOLDER}/lab-*.yaml 2>/dev/null; true")).out
        services |= {service.name: service for service in _applied(applied)}
        self._cluster = Cluster(self._name, nodes, pods, services, others)
        return self._cluster

    def place(self, name: str) -> Place:
        if found := machine_of(self._inventory, name):
            return found
        for host in self._nodes.values():
            if name in host.data.get("pods", {}):
                return pod_by_hand(name, host)
        if name in self.cluster.pods:
            return pod_by_hand(name, self._nodes[self.cluster.pods[name].node])
        raise unknown(name, self._inventory, self.cluster)

    def apply(self, name: str, documents: Sequence[Document], without: Collection[str] = ()) -> None:
        objects = [*whole(name, documents, self.cluster, without)]
        text = yaml.safe_dump_all(objects, sort_keys=False, explicit_start=True)
        file = f"{FOLDER}/{name}.yaml"
        script = 'printf %s "$1" > "$2.new" && mv "$2.new" "$2"'  # an agent sees either the old file or the new one
        for node in self._nodes:
            self._ask(at(node, "sh", "-c", script, "sh", text, file))
        self.read()

    def remove(self, name: str) -> None:
        for node in self._nodes:
            self._ask(at(node, "rm", "-f", f"{FOLDER}/{name}.yaml"))
        self._cluster = None

    def _pods(self, node: str, host: Host) -> list[Pod]:
        kinds: dict[str, str] = host.data.pods
        listed = self._ask(at(node, "pod", "list", "--json"), f"node {node} does not say which pods it has")
        return [
            Pod(pod["name"], node, kinds.get(pod["name"], ""), tuple(plain(address) for address in pod["addresses"]))
            for pod in json.loads(listed.out)
        ]

    def _ask(self, command: Command, failed: str = "") -> Output:
        try:
            done = ask(self.place(command.place), command)
        except NodeError as error:
            raise CannotRunError(str(error)) from error
        if done.exit:
            failed = failed or f"exit status {done.exit} on node {command.place}"
            raise CannotRunError(f"{failed}:\n  $ {done.typed}\n  {done.err.strip()}")
        return done


def _node(name: str, host: Host) -> Node:
    return Node(name, tuple(plain(address) for address in host.data.addresses))


def _of_inventory(name: str, said: Mapping[str, Any]) -> Service:
    ports = tuple(
        Port(port["name"], port["protocol"], port["port"], port["targetPort"], port.get("nodePort"))
        for port in said["ports"]
    )
    return Service(name, name, tuple(said["addresses"]), ports)


def _applied(text: str) -> Iterator[Service]:
    for document in yaml.safe_load_all(text):
        if document and document["kind"] == "Service":
            yield service_of(document)


def whole(
    name: str, documents: Sequence[Document], cluster: Cluster, without: Collection[str] = ()
) -> Iterator[dict[str, Any]]:
    """Yield the objects as an API server would store them, with the slices that its controllers would add."""
    number = count(first_number(name))
    for document in documents:
        if document["kind"] == "EndpointSlice":
            yield {**document}
            continue
        if document["kind"] != "Service":
            raise LabError(f"{name}: the local cluster knows no {document['kind']}; valid: Service, EndpointSlice")
        service = _with_addresses(document, number)
        yield service
        for family in FAMILIES:
            yield _slice(service_of(service), family, cluster, without)


def _with_addresses(document: Document, number: Iterator[int]) -> dict[str, Any]:
    at = next(number)
    spec: dict[str, Any] = {"clusterIPs": [f"10.96.{1 + at // 200}.{at % 200 + 1}", f"fd00:10:96::1{at:03x}"]}
    spec |= {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack", "type": "ClusterIP"} | document[
        "spec"
    ]
    spec["clusterIP"] = spec["clusterIPs"][0]
    ports = [{"name": "http", "protocol": "TCP", **port} for port in spec["ports"]]
    if spec["type"] in ("NodePort", "LoadBalancer"):
        ports = [{"nodePort": FIRST_NODE_PORT + at + 5 * i, **port} for i, port in enumerate(ports)]
    metadata = {"namespace": "default", **document["metadata"]}
    found: dict[str, Any] = {**document, "apiVersion": "v1", "metadata": metadata, "spec": {**spec, "ports": ports}}
    if spec["type"] != "LoadBalancer":
        return found
    if spec.get("externalTrafficPolicy") == "Local":
        found["spec"]["healthCheckNodePort"] = FIRST_HEALTH_PORT + at
    return {**found, "status": balanced(at)}


def _slice(service: Service, family: int, cluster: Cluster, without: Collection[str]) -> dict[str, Any]:
    endpoints = [
        {
            "addresses": [pod.address(family)],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": pod.node,
            "targetRef": {"kind": "Pod", "name": pod.name, "namespace": "default"},
        }
        for pod in cluster.pods.values()
        if service.kind and pod.kind == service.kind and pod.name not in without
    ]
    ports = [{"name": port.name, "protocol": port.protocol, "port": port.target} for port in service.ports]
    labels = {"kubernetes.io/service-name": service.name}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service.name}-{FAMILIES[family].lower()}", "namespace": "default", "labels": labels},
        "addressType": FAMILIES[family],
        "endpoints": endpoints,
        "ports": ports if endpoints else [],
    }
