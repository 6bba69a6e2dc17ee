"""What socklb's agent and kube-proxy take to program a node, and how long a change needs to reach a packet.

    python -m bench peers --services 1000 --changes 10

One peer after the other follows a real API server on a node of its own (place.py). A client in a pod of the node
connects without end. What is timed ends with an answer that it gets from the right backend, so nobody's own word
counts; the client tries a thousand times a second at most, and waits 50 ms for an answer.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import chain
from pathlib import Path

from bench import api
from bench.figures import Figure, Values, quantile
from bench.networks import inside
from bench.node import cgroup
from bench.peers.place import API, Place, plane_network
from bench.peers.programs import NODE, KubeProxy, Socklb
from bench.peers.turn import AT_ANY_TIME, ENDPOINTS, QUIET, Changes, Client, Services, Start, Turn, others, servers
from bench.progress import progress
from rig.control_plane import ControlPlane
from rig.objects import NODES

PART = "peers"
SERVICES, CHANGES = 10_000, 30
OTHERS = 50  # slices a second that change meanwhile
SOCKLB = "socklb"
MODES = {"kube-proxy, nftables": "nftables", "kube-proxy, iptables": "iptables"}
START, RESTART = "start, nothing programmed", "restart, all programmed"
TIME, CPU, MEMORY = "time", "CPU", "most memory"
MEDIAN, HIGH = "median", "p90"
IDLE, BUSY = "a change at an idle API", f"a change beside {OTHERS} others a second"


def measure(number_of_services: int = SERVICES, changes: int = CHANGES) -> list[Figure]:
    """Measure."""
    programs = api.programs("kube-proxy")
    with ExitStack() as opened:
        home = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix=f"socklb-bench-{os.getpid()}-")))
        network = plane_network(opened)
        opened.enter_context(inside(network))
        plane = opened.enter_context(ControlPlane(programs, home, address=API))
        plane.kill("kube-controller-manager")
        plane.apply(api.ROOT / "deploys" / "kubernetes" / "rbac.yaml")
        plane.create(NODES, {"metadata": {"name": NODE}})
        services = Services(number_of_services)
        with progress(f"{services.number} Services"):
            api.store(plane, chain.from_iterable(api.objects(n, services.fresh()) for n in range(services.number)))
        found: list[Figure] = []
        for number, name in enumerate((SOCKLB, *MODES), 1):
            with ExitStack() as of_peer:
                place = Place.make(of_peer, network, number)
                turn = turn_of(of_peer, plane, home / f"peer-{number}", place, name, services)
                found += taken(turn, plane, name, services, changes)
        return found


def turn_of(opened: ExitStack, plane: ControlPlane, home: Path, place: Place, name: str, services: Services) -> Turn:
    """Return a peer that does not run yet, and what is around it."""
    home.mkdir()
    addresses = [{"type": "InternalIP", "address": place.address}]
    plane.patch(f"{NODES}/{NODE}/status", {"status": {"addresses": addresses}})
    make = partial(cgroup, opened)
    hooked, cgroups = make(f"{home.name}-node"), (make(f"{home.name}-first"), make(f"{home.name}-again"))
    opened.enter_context(servers(place, make(f"{home.name}-servers")))
    peer = (
        Socklb(opened, home, place, plane, hooked)
        if name == SOCKLB
        else KubeProxy(opened, home, place, plane, MODES[name])
    )
    client = opened.enter_context(Client(place.client, hooked, lambda: peer.log))
    return Turn(plane, peer, client, services, cgroups)


def taken(turn: Turn, plane: ControlPlane, name: str, services: Services, changes: int) -> Iterator[Figure]:
    """Yield what a peer took."""
    table = f"{services.number:,} Services with {ENDPOINTS} endpoints each"

    def figure(what: str, unit: str, value: float, noise: float | None = None) -> Figure:
        return Figure(PART, table, what, name, unit, value, noise)

    yield figure("load of the machine before", "processes", os.getloadavg()[0])
    with progress(f"{name}: start"):
        first = turn.first()
    yield from (figure(*one) for one in of_start(START, first))
    yield figure(f"{START}: one connect to each Service then", "failed", first.failed)
    with progress(f"{name}: {changes} changes"):
        idle = turn.changes(changes, QUIET)
    yield from (figure(what, unit, *values) for what, unit, values in of_changes(IDLE, idle))
    yield figure(f"{IDLE}: CPU, with the quiet before it", "ms", 1000 * idle.cpu / len(idle.right))
    with progress(f"{name}: {changes} changes beside others"), others(plane, services, OTHERS) as reached:
        busy = turn.changes(changes, AT_ANY_TIME)
    yield from (figure(what, unit, *values) for what, unit, values in of_changes(BUSY, busy))
    yield figure(f"{BUSY}: CPU meanwhile", "ms/s", 1000 * busy.cpu / busy.seconds)
    yield figure(f"{BUSY}: others that the API took", "/s", reached[0])
    with progress(f"{name}: restart"):
        again = turn.again()
    yield from (figure(*one) for one in of_start(RESTART, again))
    yield figure(f"{RESTART}: of the client's connects meanwhile", "failed", again.failed)
    yield figure(f"{RESTART}: the client's connects meanwhile", "made", again.made)


def of_start(what: str, start: Start) -> Iterator[tuple[str, str, float]]:
    """Yield what a start took until every Service answered, or a restart until an endpoint did that was new."""
    yield f"{what}: {TIME}", "s", start.seconds
    yield f"{what}: {CPU}", "s", start.cpu
    yield f"{what}: {MEMORY}", "MB", start.memory / 1e6


def of_changes(kind: str, changes: Changes) -> Iterator[tuple[str, str, Values]]:
    """Yield how long changes took."""
    milliseconds = [1000 * one for one in changes.right]
    yield right(kind, MEDIAN), "ms", quantile(milliseconds)
    yield right(kind, HIGH), "ms", quantile(milliseconds, 0.9)
    yield f"{kind}: number of them", "changes", Values(len(milliseconds), None)
    yield f"{kind}: of it until the API answered, {MEDIAN}", "ms", quantile(1000 * one for one in changes.answered)


def right(kind: str, which: str) -> str:
    """Return what the time to the first right packet is called."""
    return f"{kind}: to the first right packet, {which}"
