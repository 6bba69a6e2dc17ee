"""The clients of a walk on a cluster, in pods, on nodes and outside: each is served by one node.

An Event's place is the client's name and that node.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple, Self

from inventory.place import Place
from tests.chaos.cluster.rig import ROOT, ClusterRig
from tests.chaos.crowd import Crowd
from tests.chaos.history import Event


class ClusterClient(NamedTuple):
    kind: str
    way: str  # what translates for it
    place: str  # as tests/chaos/client.py knows it: a pod is `c`
    node: str  # which serves it
    rate: float = 20.0  # asks a second at most


def clients_of(rig: ClusterRig, node: str) -> Iterator[ClusterClient]:
    """Yield the clients that a node serves."""
    yield ClusterClient("tcp", "socket", "node", node)
    if any(pod.node == node for pod in rig.clients):
        for kind in ("tcp", "udp", "udp-kept", "udp-unconnected", "stream"):
            yield ClusterClient(kind, "socket", "c", node)
    if rig.on.outside:
        for kind in ("tcp", "udp", "stream"):
            yield ClusterClient(kind, "packet", "client", node)


class ClusterCrowd(Crowd):
    """See the module."""

    may_end = frozenset({None})

    def __init__(self, rig: ClusterRig, seed: int) -> None:
        super().__init__(rig, seed, tuple(client for node in rig.nodes for client in clients_of(rig, node)))  # type: ignore[arg-type]

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

    def placed(self, client: ClusterClient, event: Event) -> Event:  # type: ignore[override]
        """Return the event with the node that served it."""
        return event._replace(place=f"{client.place} {client.node}")
