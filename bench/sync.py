"""From a folder of manifests to the kernel: how long a start takes, and how long a changed file.

A change is timed from the rename that puts the file in place to the store in the frontend's row, watched in the mapped
table itself, so neither `socklb status` nor its polling is in the figure.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

from bench.table import print_table
from socklb.datapath import layout
from socklb.datapath.maps import HashTable, RowTable
from socklb.datapath.pins import Pins
from socklb.serving import Frontend, pack_address
from tests.datapath.agents import AgentUnderTest, endpoint_slice, service
from tests.datapath.sandbox import BACKENDS4, Sandbox, mounted_bpffs

SERVICES = 500
ENDPOINTS = 4
STARTS = 5
CHANGES = 300
PAUSE = 0.03  # seconds between changes, so that each is a batch of its own
LIMIT = 5.0  # seconds


def main() -> None:
    """Measure and print."""
    with ExitStack() as opened:
        scratch = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="socklb-bench-")))
        bpffs = opened.enter_context(mounted_bpffs(scratch / "bpf"))
        place = Sandbox("socklb-bench-sync")
        opened.callback(place.remove)
        opened.callback(lambda: Pins(bpffs).remove())
        agent = AgentUnderTest(scratch, place.cgroup, bpffs)
        opened.callback(agent.stop)
        for n in range(SERVICES):
            write(agent, n, 0)
        fresh, again = starts(agent)
        agent.start()
        latencies = sorted(1000 * latency for latency in changes(agent))
        agent.stop()
    print_table(
        f"{SERVICES} Services x {ENDPOINTS} endpoints in {SERVICES} files",
        ("what", "median", "p99", "goal"),
        [
            ("start to in sync, empty tables", f"{fresh:.2f} s", "", "< 1 s"),
            ("start to in sync, tables of the last agent", f"{again:.2f} s", "", ""),
            (
                f"file change to kernel, {CHANGES} changes",
                f"{statistics.median(latencies):.1f} ms",
                f"{latencies[int(0.99 * len(latencies))]:.1f} ms",
                "< 100 ms",
            ),
        ],
    )


def write(agent: AgentUnderTest, n: int, generation: int) -> None:
    """Write Service n; from generation 1 on it has other endpoints."""
    members = [BACKENDS4[(n + min(generation, 1) + i) % len(BACKENDS4)] for i in range(ENDPOINTS)]
    name = f"s{n}"
    agent.write(f"{name}.yaml", service(name, address(n)), endpoint_slice(f"{name}-4", *members, generation=generation))


def address(n: int) -> str:
    """Give Service n's ClusterIP."""
    return f"10.97.{n >> 8}.{n & 255}"


def starts(agent: AgentUnderTest) -> tuple[float, float]:
    """Give the median time from exec to "in sync", with empty tables and with full ones."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(STARTS):
        for empty in (True, False):
            began = time.monotonic()
            agent.launch()
            agent.until(lambda status: status["synced"])
            times[empty].append(time.monotonic() - began)
            agent.stop()
        Pins(agent.bpffs).remove()
    return statistics.median(times[True]), statistics.median(times[False])


def changes(agent: AgentUnderTest) -> list[float]:
    """Change one file after the other; give the seconds until each is in the kernel."""
    maps = Pins(agent.bpffs).maps
    with closing(RowTable(maps, "frontend_rows", layout.FRONTEND_ROW.size)) as rows:
        numbers = row_numbers(maps)
        found: list[float] = []
        for change in range(CHANGES):
            n = change * 7 % SERVICES
            row = numbers[Frontend(pack_address(address(n)), 80, 6)]
            before = rows.read(row)
            began = time.monotonic()
            write(agent, n, change + 1)
            while rows.read(row) == before:
                time.sleep(0.0002)
                if time.monotonic() - began > LIMIT:
                    raise TimeoutError(f"change {change} is not in the kernel after {LIMIT} s:\n{agent.log[-2000:]}")
            found.append(time.monotonic() - began)
            time.sleep(PAUSE)
    return found


def row_numbers(maps: Path) -> dict[Frontend, int]:
    """Give every frontend's row."""
    with closing(HashTable(maps, "frontends", layout.FRONTEND_KEY.size, layout.ROW_INDEX.size)) as frontends:
        return {layout.unpack_frontend(key): layout.ROW_INDEX.unpack(value)[0] for key, value in frontends.items()}
