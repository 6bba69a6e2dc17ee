"""The clients of a walk on a cluster, in pods, on nodes and outside: each is served by one node.

An Event's place is the client's name and that node.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self

from inventory.place import Place
from tests.chaos.cluster.rig import ROOT, ClusterRig
from tests.chaos.history import Event


class ClusterClient(NamedTuple):
    kind: str
    way: str  # what translates for it
    place: str  # as tests/chaos/client.py knows it: a pod is `c`
    node: str  # which serves it
    rate: float = 20.0  # asks a second at most


class ClusterCrowd:
    """See the module."""

    def __init__(self, rig: ClusterRig, seed: int) -> None:
        self._rig, self._seed = rig, seed
        self.clients = [client for node in rig.nodes for client in self._of(node)]
        self.files: dict[ClusterClient, Path] = {
            client: rig.home / f"client-{client.kind}-{client.way}-{client.place}-{client.node}.jsonl"
            for client in self.clients
        }
        self._read = dict.fromkeys(self.clients, 0)
        self.last: dict[ClusterClient, Event] = {}

    def _of(self, node: str) -> Iterator[ClusterClient]:
        yield ClusterClient("tcp", "socket", "node", node)
        if any(pod.node == node for pod in self._rig.clients):
            for kind in ("tcp", "udp", "udp-kept", "udp-unconnected", "stream"):
                yield ClusterClient(kind, "socket", "c", node)
        if self._rig.on.outside:
            for kind in ("tcp", "udp", "stream"):
                yield ClusterClient(kind, "packet", "client", node)

    def _where(self, client: ClusterClient) -> Place:
        if client.place == "node":
            return self._rig.nodes[client.node]
        if client.place == "client":
            assert self._rig.on.outside
            return self._rig.target.place(self._rig.on.outside)
        return self._rig.pod(next(pod for pod in self._rig.clients if pod.node == client.node))

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self._running: dict[ClusterClient, subprocess.Popen[bytes]] = {}
            shipped = set[str]()
            for number, (client, path) in enumerate(self.files.items()):
                place = self._where(client)
                if place.name not in shipped:
                    self._rig.ship(place)
                    shipped.add(place.name)
                asks = (client.kind, client.way, client.place, self._seed, client.rate)
                addresses = self._rig.target.cluster.nodes[client.node].addresses
                words = ("-m", "tests.chaos.client", *map(str, asks), *addresses[:2])
                out, err = undo.enter_context(path.open("wb")), undo.enter_context(path.with_suffix(".err").open("wb"))
                command = self._rig.run(place, f"client-{number}", *words)
                self._running[client] = undo.enter_context(subprocess.Popen(command, stdout=out, stderr=err, cwd=ROOT))
                undo.callback(self._rig.end, place, f"client-{number}")
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def news(self) -> Iterator[Event]:
        """Yield what was seen since the last time."""
        for client, path in self.files.items():
            if self._running[client].poll() is not None:
                raise RuntimeError(f"{client} ended: {path.with_suffix('.err').read_text()}")
            with path.open("rb") as file:
                file.seek(self._read[client])
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._read[client] += len(whole)
            for line in whole.splitlines():
                event = Event(*json.loads(line))
                self.last[client] = event = event._replace(place=f"{client.place} {client.node}")
                yield event
