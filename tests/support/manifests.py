"""Services and EndpointSlices for tests on the cluster: as YAML into each node's folder, and back once it is applied.

    folder = Manifests(cluster, "upstream.yaml")
    folder.put("e2e", documents("e2e", [Endpoint(("10.244.1.9",), "w1")], clusterIP="10.96.0.200"))
    folder.clear()

`put` comes back when every agent says in its status that it has applied these very generations.
"""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from inventory.place import Place
from tests.support import workers
from tests.support.cluster import Cluster

FOLDER = "/etc/socklb/manifests"
FAMILIES = {"IPv4": ".", "IPv6": ":"}
Document = dict[str, Any]

# [path, text, {object: generation}, [objects that are to be gone]]: writes the file, and says once it is applied. An
# empty text removes the file.
WRITER = """
import json, os, socket, time

def answer(question):
    path, text, wanted, gone = question
    if text:
        with open(path + ".new", "w") as file:
            file.write(text)
        os.rename(path + ".new", path)
    elif os.path.exists(path):
        os.remove(path)
    end = time.monotonic() + 20
    while True:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.connect("/run/socklb/agent.sock")
            agent.sendall(b"status\\n")
            status = json.loads(b"".join(iter(lambda: agent.recv(65536), b"")))
        objects = status["applied"]["objects"]
        if all(objects.get(name) == number for name, number in wanted.items()) and not objects.keys() & set(gone):
            return ""
        if time.monotonic() > end:
            return f"not applied in 20 s: wanted {wanted} without {gone}, is {objects}, problems {status['problems']}"
        time.sleep(0.02)
"""


class Endpoint(NamedTuple):
    """Where a Service is served: a pod's or a node's addresses, and its conditions as the slices have them."""

    addresses: Sequence[str]
    node: str
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    hints: Mapping[str, Any] | None = None

    def terminates(self) -> "Endpoint":
        return self._replace(ready=False, terminating=True)

    def unready(self) -> "Endpoint":
        return self._replace(ready=False, serving=False)


def port(number: int, protocol: str = "TCP", target: int = 8080, node_port: int = 0, name: str = "") -> dict[str, Any]:
    """A port of a Service, and where its endpoints serve it."""
    found = {"name": name or f"{protocol.lower()}-{number}", "protocol": protocol, "port": number, "targetPort": target}
    return found | ({"nodePort": node_port} if node_port else {})


def documents(
    name: str,
    endpoints: Iterable[Endpoint],
    ports: Sequence[Mapping[str, Any]],
    labels: Mapping[str, str] | None = None,
    ingress: Iterable[str] = (),
    **spec: Any,
) -> list[Document]:
    """A Service and its slices, one for each family."""
    service: Document = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": dict(labels or {})},
        "spec": {"ports": list(ports), **spec},
        "status": {"loadBalancer": {"ingress": [{"ip": address} for address in ingress]}},
    }
    return [service, *(_slice(name, family, list(endpoints), ports) for family in FAMILIES)]


def _slice(name: str, family: str, endpoints: Sequence[Endpoint], ports: Sequence[Mapping[str, Any]]) -> Document:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-{family.lower()}", "labels": {"kubernetes.io/service-name": name}},
        "addressType": family,
        "ports": [{"name": p["name"], "protocol": p["protocol"], "port": p["targetPort"]} for p in ports],
        "endpoints": [
            {
                "addresses": [address],
                "conditions": {"ready": e.ready, "serving": e.serving, "terminating": e.terminating},
                "nodeName": e.node,
                **({"hints": e.hints} if e.hints else {}),
            }
            for e in endpoints
            for address in e.addresses
            if FAMILIES[family] in address
        ],
    }


class Manifests:
    """One file of manifests on every node. Each change gives what it writes a new generation."""

    def __init__(self, cluster: Cluster, file: str) -> None:
        self._nodes = cluster.nodes
        self._path = f"{FOLDER}/{file}"
        self._parts: dict[str, list[Document]] = {}
        self._generations = itertools.count(1)

    def put(self, part: str, new: Iterable[Document]) -> None:
        """Replace a part, which is a Service and its slices, and wait for all agents."""
        self._change(part, list(new))

    def remove(self, part: str) -> None:
        self._change(part, [])

    def clear(self) -> None:
        gone = [_key(document) for part in self._parts.values() for document in part]
        self._parts.clear()
        self._write({}, gone)

    def _change(self, part: str, new: list[Document]) -> None:
        gone = {_key(document) for document in self._parts.pop(part, [])} - {_key(document) for document in new}
        for document in new:
            document["metadata"]["generation"] = next(self._generations)
        if new:
            self._parts[part] = new
        self._write({_key(document): document["metadata"]["generation"] for document in new}, sorted(gone))

    def _write(self, wanted: Mapping[str, int], gone: Sequence[str]) -> None:
        text = "".join(f"---\n{json.dumps(document)}\n" for part in self._parts.values() for document in part)

        def write(node: Place) -> None:
            trouble = workers.answer(node, WRITER, [self._path, text, wanted, gone])
            assert not trouble, trouble

        with ThreadPoolExecutor() as pool:
            list(pool.map(write, self._nodes.values()))


def _key(document: Document) -> str:
    return f"{document['kind']}/default/{document['metadata']['name']}"
