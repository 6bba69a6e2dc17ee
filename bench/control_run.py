"""One measurement of bench/control.py, in a process of its own: what the agent would need for so many Services.

    python -m bench.control_run BPFFS CGROUP SERVICES ENDPOINTS

Prints JSON on stdout. What the source of the objects holds (a folder's texts, an API client's) is not in it.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path

import socklb.agent
from bench import objects
from bench.memory import number_after, resident
from bench.node import room_for
from socklb import memory
from socklb.datapath import libbpf
from socklb.datapath.node import NodeDatapath
from socklb.plan import Plan
from socklb.state import State

CHANGES = 200
AGENT = socklb.agent.Agent  # not run; its modules' memory is the agent's too


def main(bpffs: Path, cgroup: Path, count: int, endpoints: int) -> None:
    """Measure and print."""
    memory.collect_less_often()
    with NodeDatapath(bpffs, cgroup, sizes=room_for(count, endpoints)) as node:
        state, plan = State(), Plan("node-1")
        cpu, wall = bring(node, state, plan, count, endpoints)
        found = {
            "cpu": cpu,
            "wall": wall,
            "rss": resident(),
            "maps": sum(locked(pin) for pin in node.pins.maps.iterdir()),
            "change": change(node, state, plan, count, endpoints),
        }
        if node.tables.waiting:
            raise RuntimeError(f"{len(node.tables.waiting)} of {count} Services found no room")
    print(json.dumps(found))


def bring(node: NodeDatapath, state: State, plan: Plan, count: int, endpoints: int) -> tuple[float, float]:
    """Bring all objects into the kernel; give seconds of CPU and of time."""
    changes = objects.changes(count, endpoints)
    cpu, wall = time.process_time(), time.monotonic()
    node.tables.apply(plan.update(state, state.apply(changes)).for_sockets())
    return time.process_time() - cpu, time.monotonic() - wall


def change(node: NodeDatapath, state: State, plan: Plan, count: int, endpoints: int) -> float:
    """Change one endpoint of one Service after the other; give the median of the seconds of CPU."""
    spent: list[float] = []
    for generation in range(1, CHANGES + 1):
        moved = objects.moved(generation * 7 % count, endpoints, generation)
        begun = time.process_time()
        node.tables.apply(plan.update(state, state.apply((moved,))).for_sockets())
        spent.append(time.process_time() - begun)
    return statistics.median(spent)


def locked(pin: Path) -> int:
    """Give the bytes that the kernel says a map takes."""
    descriptor = libbpf.get_pinned(pin)
    try:
        return int(number_after("memlock", Path(f"/proc/self/fdinfo/{descriptor}").read_text()))
    finally:
        os.close(descriptor)


main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
