"""One measurement for bench/control.py, in a process of its own: what the agent needs for this many Services.

    python -m bench.control_run BPFFS CGROUP SERVICES ENDPOINTS

Prints JSON on stdout. The memory of the source (a folder's texts, an API client) is not included. It must run in a
network namespace of its own: the packet path is attached to an uplink there, and then again, as by the next agent.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench import objects
from bench.memory import number_after, resident
from bench.node import room_for
from socklb import memory
from socklb.agent.agent import Agent
from socklb.config import Config
from socklb.datapath import libbpf
from socklb.datapath.node_datapath import NodeDatapath
from socklb.desired.plan import Plan
from socklb.desired.store import ObjectStore
from socklb.model import Addresses, Difference, pack_address
from socklb.tc.path import TcPath

CHANGES = 200
NODE = "172.20.1.1"
LOOK, LIMIT = 0.02, 30.0  # seconds between two checks whether the packet path serves, and in total
AGENT = Agent  # not run, but the agent has its modules in memory too


def main(bpffs: Path, cgroup: Path, count: int, endpoints: int) -> None:
    """Measure and print."""
    memory.collect_less_often()
    with NodeDatapath(bpffs, cgroup, sizes=room_for(count, endpoints), packets=True) as node:
        state, plan = ObjectStore(), Plan("node-1")
        cpu, wall = bring(node, state, plan, count, endpoints)
        found = {
            "cpu": cpu,
            "wall": wall,
            "rss": resident(),
            "maps": sum(locked(pin) for pin in node.pins.maps.iterdir()),
            "change": change(node, state, plan, count, endpoints),
        }
        make_uplink(node)
        found["packets_start"], found["packets_rss"] = packet_path(node)
        found["packets_restart"], _ = packet_path(node)
        found["packets_maps"] = sum(locked(pin) for pin in node.pins.tc_maps.iterdir())
        if node.tables.waiting:
            raise RuntimeError(f"{len(node.tables.waiting)} of {count} Services found no room")
    print(json.dumps(found))


def bring(node: NodeDatapath, state: ObjectStore, plan: Plan, count: int, endpoints: int) -> tuple[float, float]:
    """Load all objects into the kernel; return seconds of CPU and of time."""
    changes = objects.changes(count, endpoints)
    cpu, wall = time.process_time(), time.monotonic()
    node.tables.apply(plan.update(state, state.apply(changes)).for_tables())
    return time.process_time() - cpu, time.monotonic() - wall


def change(node: NodeDatapath, state: ObjectStore, plan: Plan, count: int, endpoints: int) -> float:
    """Change one endpoint of one Service after the other; return the median of the seconds of CPU."""
    spent: list[float] = []
    for generation in range(1, CHANGES + 1):
        moved = objects.moved(generation * 7 % count, endpoints, generation)
        begun = time.process_time()
        node.tables.apply(plan.update(state, state.apply((moved,))).for_tables())
        spent.append(time.process_time() - begun)
    return statistics.median(spent)


def make_uplink(node: NodeDatapath) -> None:
    """Make a device with the node's address in the tables."""
    for words in ("link add eth0 type veth peer name far", f"address add {NODE}/24 dev eth0", "link set eth0 up"):
        subprocess.run(["ip", *words.split()], check=True)
    node.tables.apply(Difference(add=Addresses(own=frozenset({pack_address(NODE)}))))


def packet_path(node: NodeDatapath) -> tuple[float, int]:
    """Start the packet path as an agent does that finds full tables; return seconds of CPU and bytes of memory.

    The next one finds the programs attached, and replaces them with its own.
    """
    path = TcPath(Config(node="node-1"), node.pins, node.objects, served=True)
    before, begun = resident(), time.process_time()

    async def until_it_serves() -> tuple[float, int]:
        async with path.kept_whole():
            await asyncio.to_thread(wait_for, path)
            return time.process_time() - begun, resident() - before

    return asyncio.run(until_it_serves())


def wait_for(path: TcPath) -> None:
    """Wait until it serves."""
    end = time.monotonic() + LIMIT
    while not path.facts.whole:
        if time.monotonic() > end:
            raise TimeoutError(f"no packet path after {LIMIT} s: {path.problems}")
        time.sleep(LOOK)


def locked(pin: Path) -> int:
    """Return the kernel's figure of the bytes that a map uses."""
    descriptor = libbpf.get_pinned(pin)
    try:
        return int(number_after("memlock", Path(f"/proc/self/fdinfo/{descriptor}").read_text()))
    finally:
        os.close(descriptor)


main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
