"""A Kubernetes cluster as a target: pods and Services come from its API, by kubectl on its control plane.

There the pods of the workload have generated names. A lab gives them the same names as on every other inventory, in the
order of the nodes, workers first: `client` and `web-1` on the first worker, `client-2` on the second. What a lab
applies has a label by which it is removed. No controller gives Services of type LoadBalancer their addresses here: the
lab does.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from inventory.connectors.outside import inside_pod
from inventory.connectors.this_machine import NodeError
from inventory.hosts import Inventory
from inventory.place import Entry, Place
from labs.engine.cluster import Cluster, Node, Pod
from labs.engine.errors import CannotRunError
from labs.engine.objects import balanced, first_number, service_of
from labs.engine.places import KUBECTL, Output, ask, at
from labs.engine.target import Document, machine_of, machines, unknown

LINKS = ("ip", "-json", "address", "show", "up", "scope", "global")
KINDS = ("client", "web", "dns")  # values of the label `app` of the workload's pods
OF_LAB = "socklb.io/lab"  # label of everything that a lab applied
SERVES = "socklb.io/lab-serves"  # label of pods, if one of them is left out


class KubernetesTarget:
    def __init__(self, name: str, inventory: Inventory) -> None:
        self._name, self._inventory = name, inventory
        self._hosts = {name: host for name, host in machines(inventory).items() if "nodes" in host.groups}
        control = inventory.get_group("control_plane")
        workers = [name for name, host in self._hosts.items() if host not in control]
        self._order = [*workers, *(name for name in self._hosts if name not in workers)]
        self._control = next(name for name in self._hosts if name not in workers)
        self._cluster: Cluster | None = None

    @property
    def cluster(self) -> Cluster:
        return self._cluster or self.read()

    def read(self) -> Cluster:
        """Read everything from the API, and each node's interface from the node."""
        items = json.loads(self._kubectl("get", "nodes,pods,services", "--output", "json").out)["items"]
        by_kind = {kind: [item for item in items if item["kind"] == kind] for kind in ("Node", "Pod", "Service")}
        nodes = {node.name: node for node in self._nodes(by_kind["Node"])}
        pods = {pod.name: pod for pod in pods_of(by_kind["Pod"], self._order)}
        services = [service_of(item) for item in by_kind["Service"] if item["spec"].get("selector")]
        known = {service.name: service for service in services}
        others = {other.name: other for other in self._others(nodes)}
        self._cluster = Cluster(self._name, nodes, pods, known, others, self._control)
        return self._cluster

    def place(self, name: str) -> Place:
        if found := machine_of(self._inventory, name):
            return found
        pod = self.cluster.pods.get(name)
        if pod is None:
            raise unknown(name, self._inventory, self.cluster)
        real = pod.itself or pod.name
        enter = (*KUBECTL, "exec", "--stdin", real, "--")
        at_terminal = (*KUBECTL, "exec", "--stdin", "--tty", real, "--")
        unhooked = Entry(self._hosts[pod.node], inside_pod(pod.uid), hooked=False)
        return Place(name, Entry(self._hosts[self._control], enter, at_terminal=at_terminal), unhooked)

    def apply(self, name: str, documents: Sequence[Document], without: Collection[str] = ()) -> None:
        """Apply the documents. If a pod is left out, the Services select by a label that the other pods get."""
        if without:
            self._label(name, without)
        objects = [_labelled(document, name, chosen=bool(without)) for document in documents]
        given = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self._kubectl("apply", "--filename", "-", given=given)
        for number, document in enumerate(documents, start=first_number(name)):
            if document["spec"].get("type") == "LoadBalancer":
                status = json.dumps({"status": balanced(number)})
                words = ("--subresource", "status", "--type", "merge", "--patch", status)
                self._kubectl("patch", "service", document["metadata"]["name"], *words)
        self.read()

    def remove(self, name: str) -> None:
        self._kubectl("delete", "services,endpointslices", "--selector", f"{OF_LAB}={name}", "--ignore-not-found")
        self._kubectl("label", "pods", "--selector", f"{SERVES}={name}", f"{SERVES}-")
        self._cluster = None

    def _label(self, name: str, without: Collection[str]) -> None:
        for pod in self.cluster.pods.values():
            label = f"{SERVES}-" if pod.name in without else f"{SERVES}={name}"
            self._kubectl("label", "pods", "--overwrite", pod.itself or pod.name, label)

    def _nodes(self, items: Iterable[Mapping[str, Any]]) -> Iterator[Node]:
        for item in items:
            name: str = item["metadata"]["name"]
            listed = item["status"]["addresses"]
            addresses = tuple(one["address"] for one in listed if one["type"] == "InternalIP")
            if name in self._hosts:
                found = interfaces(self._ask(name, *LINKS).out).items()
                yield Node(name, addresses, next(link for link, has in found if addresses[0] in has), systemd=True)

    def _others(self, nodes: Collection[str]) -> Iterator[Node]:
        """Yield the machines that are not nodes. A missing one is left out: most labs do not need it."""
        for name in machines(self._inventory):
            if name in nodes:
                continue
            said = ask(self.place(name), at(name, *LINKS))
            for interface, addresses in interfaces(said.out).items() if said.exit == 0 else ():
                yield Node(name, addresses, interface)

    def _kubectl(self, *words: str, given: str = "") -> Output:
        return self._ask(self._control, *KUBECTL, *words, given=given)

    def _ask(self, node: str, *words: str, given: str = "") -> Output:
        command = at(node, *words, seconds=60)
        try:
            done = ask(self.place(node), command, given)
        except NodeError as error:
            raise CannotRunError(str(error)) from error
        if done.exit:
            raise CannotRunError(
                f"the cluster of inventory/{self._name}.py does not answer: exit status {done.exit} from:\n"
                f"  $ {done.typed}\n  {done.err.strip()}\nNext: make kind, with DOCKER_HOST as then"
            )
        return done


def interfaces(said: str) -> dict[str, tuple[str, ...]]:
    """Return the interfaces that have addresses, from the output of `ip`, which has `{}` for the others."""
    links = [link for link in json.loads(said) if link]
    found = {link["ifname"]: tuple(one["local"] for one in link["addr_info"] if one) for link in links}
    return {name: addresses for name, addresses in found.items() if addresses}


def pods_of(items: Iterable[Mapping[str, Any]], order: Sequence[str]) -> Iterator[Pod]:
    """Yield the running pods, those of the workload with the names that labs use."""
    running = [item for item in items if _runs(item)]
    for kind in KINDS:
        of_kind = [item for item in running if item["metadata"].get("labels", {}).get("app") == kind]
        of_kind.sort(key=lambda item: (order.index(item["spec"]["nodeName"]), item["metadata"]["name"]))
        for number, item in enumerate(of_kind, start=1):
            plain = kind == "client" and number == 1
            yield _pod(item, kind, kind if plain else f"{kind}-{number}")
    for item in running:
        if item["metadata"].get("labels", {}).get("app") not in KINDS:
            yield _pod(item, "", item["metadata"]["name"])


def _pod(item: Mapping[str, Any], kind: str, name: str) -> Pod:
    addresses = tuple(one["ip"] for one in item["status"]["podIPs"])
    meta = item["metadata"]
    return Pod(name, item["spec"]["nodeName"], kind, addresses, meta["name"], meta["uid"])


def _runs(item: Mapping[str, Any]) -> bool:
    status = item["status"]
    return status["phase"] == "Running" and "podIPs" in status and "deletionTimestamp" not in item["metadata"]


def _labelled(document: Document, name: str, *, chosen: bool) -> dict[str, Any]:
    meta: dict[str, Any] = dict(document["metadata"])
    labels: dict[str, str] = meta.get("labels", {})
    whole: dict[str, Any] = {**document, "metadata": meta | {"labels": labels | {OF_LAB: name}}}
    if document["kind"] == "Service":
        spec: dict[str, Any] = {"ipFamilyPolicy": "PreferDualStack", **document["spec"]}
        if chosen:
            spec["selector"] = {**spec["selector"], SERVES: name}
        whole["spec"] = spec
    return whole
