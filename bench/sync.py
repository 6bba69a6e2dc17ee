"""From a folder of manifests to the kernel: how long a start takes, and how long a changed file.

A change is timed from the rename that puts the file in place to the store in the frontend's row, watched in the mapped
table itself, so the figure includes neither `socklb status` nor its polling.
"""

from __future__ import annotations

from bench.agents import CHANGES, address, agent_of, both, changes, start
from bench.figures import Figure
from rig.agents import AgentUnderTest, endpoint_slice, service
from rig.sandbox import BACKENDS4
from socklb.datapath.pins import Pins

PART = "sync"
SERVICES = 500
ENDPOINTS = 4
STARTS = 5


def measure() -> list[Figure]:
    """Measure."""
    with agent_of("sync") as agent:
        for n in range(SERVICES):
            write(agent, n, 0)
        fresh, again = starts(agent)
        agent.start()
        _, latencies = changes(agent, SERVICES, lambda n, change: write(agent, n, change + 1))
    table = f"{SERVICES} Services x {ENDPOINTS} endpoints in {SERVICES} files"
    return [
        *both(PART, table, "start to in sync, empty tables", "s", fresh, goal="< 1 s"),
        *both(PART, table, "start to in sync, tables of the last agent", "s", again),
        *both(PART, table, f"file change to kernel, {CHANGES} changes", "ms", latencies, goal="< 100 ms"),
    ]


def write(agent: AgentUnderTest, n: int, generation: int) -> None:
    """Write Service n; from generation 1 on it has other endpoints."""
    members = [BACKENDS4[(n + min(generation, 1) + i) % len(BACKENDS4)] for i in range(ENDPOINTS)]
    name = f"s{n}"
    agent.write(f"{name}.yaml", service(name, address(n)), endpoint_slice(f"{name}-4", *members, generation=generation))


def starts(agent: AgentUnderTest) -> tuple[list[float], list[float]]:
    """Return the seconds from exec to "in sync", with empty tables and with full ones."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(STARTS):
        for empty in (True, False):
            times[empty].append(start(agent))
            agent.stop()
        Pins(agent.bpffs).remove()
    return times[True], times[False]
