"""What clients notice while the agent is restarted, killed, and upgraded to other eBPF objects.

    python -m bench upgrade

An agent with hooks and packet path serves 1,000 Services from a folder, on a node of its own (peers/place.py). A pod
connects to a ClusterIP and a client outside to a NodePort, one connection after the other, and each must be answered.
In the first column nothing happens: a client that is slower beside an agent that starts may only wait for a CPU.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from bench.agents import address, start
from bench.figures import Figure, quantile
from bench.networks import inside
from bench.node import cgroup
from bench.peers.place import Place, plane_network, words
from bench.peers.programs import NODE, NodeAgent, agent_on
from bench.peers.turn import Client, Services, servers
from bench.progress import progress
from rig.agents import endpoint_slice, node, service
from socklb.datapath import features
from socklb.datapath.node_datapath import OBJECTS

PART = "upgrade"
SERVICES, NODE_PORT, ROUNDS = 1000, 32000, 5
QUIET = 1.5  # seconds
PATIENCE = 60.0
CALM, RESTARTED, KILLED, UPGRADED = "nothing happens", "restarted", "killed and started", "upgraded to other objects"
IN_SYNC = "until the agent is in sync"
Seen = Mapping[tuple[str, str], list[dict[str, Any]]]  # by client and column: what client.py says, of each round


def measure(times: int = ROUNDS) -> list[Figure]:
    """Measure."""
    with ExitStack() as opened:
        home = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix=f"socklb-bench-{os.getpid()}-")))
        other = other_objects(home / "objects")
        plane = plane_network(opened)
        opened.enter_context(inside(plane))
        place = Place.make(opened, plane, 1)
        hooked, beside = cgroup(opened, "node"), cgroup(opened, "beside")
        opened.enter_context(servers(place, beside))
        agent = agent_on(opened, home, place, hooked)
        agent.around = words(place.node, beside)
        write(agent, place)
        start(agent)
        clients = {
            "pod to ClusterIP": (opened.enter_context(Client(place.client, hooked, lambda: agent.log)), address(0), 80),
            "outside to NodePort": (
                opened.enter_context(Client(plane, beside, lambda: agent.log)),
                place.address,
                NODE_PORT,
            ),
        }
        acts = {
            CALM: partial(time.sleep, QUIET),
            RESTARTED: partial(again, agent, signal.SIGTERM),
            KILLED: partial(again, agent, signal.SIGKILL),
            UPGRADED: partial(again, agent, signal.SIGTERM, other),
        }
        return list(figures(times, *rounds(times, clients, acts)))


def write(agent: NodeAgent, place: Place) -> None:
    """Write the Services; the first has a NodePort."""
    agent.configure()
    services = Services(SERVICES)
    documents: list[object] = [node(NODE, place.address)]
    for n in range(SERVICES):
        documents.append(service(f"s{n}", address(n), node_port=NODE_PORT if n == 0 else None))
        documents.append(endpoint_slice(f"s{n}-4", *services.fresh()))
    agent.write("services.yaml", *documents)


def other_objects(folder: Path) -> Path:
    """Return a folder of objects in which the hooks differ from the present ones."""
    shutil.copytree(OBJECTS, folder, ignore=lambda _, names: [name for name in names if not name.endswith(".bpf.o")])
    name = features.object_for(features.missing())
    with progress("other objects"):
        settings = (f"OUT={folder}", "DEFINES=-DLOOKUP_TRIES=4")
        subprocess.run(["make", "-s", "-B", "-C", OBJECTS.parents[1] / "bpf", *settings, folder / name], check=True)
    return folder


def again(agent: NodeAgent, number: signal.Signals, objects: Path | None = None) -> float:
    """End the agent and start it; return the seconds until it is in sync."""
    began = time.monotonic()
    agent.kill(number)
    agent.configure(**({"objects": str(objects)} if objects else {}))
    start(agent)
    return time.monotonic() - began


def rounds(
    times: int, clients: Mapping[str, tuple[Client, str, int]], acts: Mapping[str, Callable[[], float | None]]
) -> tuple[Seen, Mapping[str, list[float]]]:
    """Let clients connect while each of the acts is done; return what they saw, and how long the acts took."""
    seen: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    took: defaultdict[str, list[float]] = defaultdict(list)
    for turn in range(times):
        for column, act in acts.items():
            with progress(f"round {turn + 1}, {column}"):
                for client, to, port in clients.values():
                    client.ask(PATIENCE, load=to, port=port)
                if (seconds := act()) is not None:
                    took[column].append(seconds)
                for name, (client, _, _) in clients.items():
                    seen[name, column].append(client.ask(PATIENCE, over=True))
    return seen, took


def figures(times: int, seen: Seen, took: Mapping[str, list[float]]) -> Iterator[Figure]:
    """Yield what clients saw, and how long the agent took."""
    table = f"{SERVICES:,} Services, {times} times; one connect after the other of each client meanwhile"
    for (name, column), found in seen.items():
        milliseconds = [one for load in found for one in load["milliseconds"]]
        failed = sum(load["failed"] for load in found)
        yield Figure(PART, table, f"{name}: connects", column, "made", len(milliseconds), better="higher")
        yield Figure(PART, table, f"{name}: of them", column, "failed", failed)
        yield Figure(PART, table, f"{name}: median", column, "ms", *quantile(milliseconds))
        yield Figure(PART, table, f"{name}: p99", column, "ms", *quantile(milliseconds, 0.99))
        yield Figure(PART, table, f"{name}: longest", column, "ms", max(milliseconds))
    for column, seconds in took.items():
        yield Figure(PART, table, IN_SYNC, column, "s", *quantile(seconds))
