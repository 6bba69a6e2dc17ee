"""Faults of what the agent follows: the API server, its store, and the way to it. Services go on as they were known."""

from __future__ import annotations

import contextlib
import sys
import time
from random import Random

from rig.objects import SERVICES, SLICES
from tests.chaos import services
from tests.chaos.faults import CONVERGE, Undo, fault
from tests.chaos.refusing import refusing
from tests.chaos.rig import Rig
from tests.packets.network import NODE

AWAY = "out of reach|cannot be followed"
# After some failures in two minutes the agent waits for up to 30 s before it asks again, as all clients of the API do.
PATIENT = 50.0
FULL = "no room in the tables"
EXPIRE = 60.0  # a flow of datagrams that nobody answers lives for 30 s
COUNTED = 14.0  # the agent counts flows every 10 s, at one of its looks every 3 s
SILENT_PORT = 31999
FILL = """
import socket, sys
for port in range(1024, 1024 + 20_000):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("", port))
        client.sendto(b"?", (sys.argv[1], int(sys.argv[2])))
"""


@fault("agent", named=AWAY, weight=0.5, within=PATIENT)
def api_server_killed(rig: Rig, chance: Random) -> Undo:
    rig.plane.kill("kube-apiserver")
    return lambda: rig.plane.start("kube-apiserver")


@fault("agent", weight=0.5, within=PATIENT)
def etcd_killed(rig: Rig, chance: Random) -> Undo:
    rig.plane.kill("etcd")
    return lambda: rig.plane.start("etcd")


@fault("agent", named=AWAY, within=PATIENT)
def api_server_unreachable(rig: Rig, chance: Random) -> Undo:
    rig.wire.cut()
    return rig.wire.mend


@fault("agent", within=PATIENT)
def way_to_the_api_server_dead(rig: Rig, chance: Random) -> Undo:
    """Nobody is told; a watch may be silent, so that this is found late."""
    rig.wire.stall()

    def undo() -> None:
        rig.wire.mend()
        rig.wire.cut()
        rig.wire.mend()

    return undo


@fault("agent", within=PATIENT)
def api_server_slow(rig: Rig, chance: Random) -> Undo:
    rig.wire.delay = chance.uniform(0.05, 0.5)
    return lambda: setattr(rig.wire, "delay", 0.0)


@fault("agent", named=AWAY, within=PATIENT)
def api_server_answers_errors(rig: Rig, chance: Random) -> Undo:
    code = chance.choice((401, 403, 404, 410, 429, 500, 503))
    undo = contextlib.ExitStack()
    rig.wire.port = undo.enter_context(refusing(rig.plane.ca.parent, code))
    rig.wire.cut()
    rig.wire.mend()

    def mend() -> None:
        rig.wire.port = rig.plane.port
        rig.wire.cut()
        rig.wire.mend()
        undo.close()

    return mend


@fault(named=FULL)
def table_of_frontends_full(rig: Rig, chance: Random) -> Undo:
    """By one Service of very many ports."""
    many = [{"name": f"p{number}", "port": number, "targetPort": 1} for number in range(1, 1000)]
    return _flood(rig, many, ("10.244.3.1",))


@fault(named=FULL)
def table_of_backends_full(rig: Rig, chance: Random) -> Undo:
    """By some Services of very many endpoints; what two of them have in common takes room once."""
    one = [{"name": "p", "port": 80, "targetPort": 1}]
    every = [f"10.244.{3 + number // 250}.{1 + number % 250}" for number in range(2700)]
    return _flood(rig, one, *(tuple(every[first : first + 900]) for first in range(0, len(every), 900)))


@fault("packet", named="new flows found no room", within=EXPIRE, unseen=COUNTED)
def table_of_flows_full(rig: Rig, chance: Random) -> Undo:
    """By datagrams from outside that nobody answers, each from a port of its own. Those that have a flow keep it."""
    many = [{"name": "u", "protocol": "UDP", "port": 80, "targetPort": 1, "nodePort": SILENT_PORT}]
    undo = _flood(rig, many, ("10.244.2.250",), type="NodePort")
    end = time.monotonic() + CONVERGE
    while "EndpointSlice/default/flood-0" not in ((rig.status() or {}).get("applied", {}).get("objects") or {}):
        if time.monotonic() > end:
            return undo  # another fault has the agent not follow
        time.sleep(0.1)
    rig.network.run("client", sys.executable, "-c", FILL, NODE, str(SILENT_PORT))
    return undo


def _flood(rig: Rig, ports: list[dict[str, object]], *sets: tuple[str, ...], **spec: str) -> Undo:
    """Have a Service of these ports for each set of endpoints."""
    names = [f"flood-{number}" for number in range(len(sets))]
    targets = [
        {"name": port["name"], "protocol": port.get("protocol", "TCP"), "port": port["targetPort"]}
        for port in ports[:100]
    ]
    for name, addresses in zip(names, sets, strict=True):
        rig.plane.create(SERVICES, {"metadata": {"name": name}, "spec": {**spec, "ports": ports}})
        meta = {"name": name, "labels": {"kubernetes.io/service-name": name}}
        slice_ = {"metadata": meta, "addressType": "IPv4", "ports": targets, "endpoints": services.endpoints(addresses)}
        rig.plane.create(SLICES, slice_)

    def undo() -> None:
        for name in names:
            rig.plane.delete(f"{SERVICES}/{name}")
            rig.plane.delete(f"{SLICES}/{name}")

    return undo
