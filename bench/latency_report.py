"""The printed tables for bench/latency.py's figures: each compared with `direct`, turn by turn."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from bench.columns import AGAIN, DEPLOYED, DIRECT, WITH_SERVICES, Loading
from bench.table import print_table
from bench.ways import OTHER_NODE, POD_HERE, POD_HERE_LOCAL, POD_THERE, SAME_NODE, UNHOOKED, Way

BURST, DATAGRAMS_A_BURST = "udp-burst", 32  # as in worker/client.c
Named = tuple[str, int]  # a column: its name, and how many Services it has
Figures = dict[Named, list[list[float]]]  # nanoseconds by column: its turns, each in order


class Task(NamedTuple):
    """The worker's task in one run."""

    way: Way
    operation: str
    to_service: bool = True

    @property
    def text(self) -> str:
        """Return it, formatted for people."""
        return f"{self.way.label}: {self.operation}" + ("" if self.to_service else " to no Service")


Turns = dict[Task, Figures]


class Row(NamedTuple):
    """What the table says about a task."""

    label: str
    task: Task
    quantile: float = 0.5
    goal: str = ""  # for the node as deployed
    past: str = ""  # the goal with host_routing
    peer: str = ""  # the best peer's figure: Cilium's hooks, 1.15, by the same method


ROWS = (
    Row("TCP connect, p50", Task(SAME_NODE, "tcp-connect"), goal="1.02", past="0.95", peer="1.06-1.07"),
    Row("TCP connect, p99", Task(SAME_NODE, "tcp-connect"), 0.99, goal="noise", peer="1.7-2.0"),
    Row(
        "TCP connect to no Service, p50",
        Task(SAME_NODE, "tcp-connect", to_service=False),
        0.5,
        "1.005",
        peer="1.004-1.017",
    ),
    Row("TCP request, live connection, p50", Task(SAME_NODE, "tcp-exchange"), goal="1.01", past="0.88"),
    Row("UDP query, fresh socket, p50", Task(SAME_NODE, "udp-fresh"), goal="1.04", peer="1.15"),
    Row("UDP query, same socket, p50", Task(SAME_NODE, "udp-same"), goal="1.03", past="0.97"),
    Row("getpeername, p50", Task(SAME_NODE, "getpeername"), goal="1.08", peer="1.31"),
    Row("TCP connect, p50", Task(OTHER_NODE, "tcp-connect"), goal="1.02", past="0.95"),
    Row("TCP connect to no Service, p50", Task(OTHER_NODE, "tcp-connect", to_service=False), goal="1.02"),
    Row("TCP request, live connection, p50", Task(OTHER_NODE, "tcp-exchange"), goal="1.02", past="0.88"),
    Row("UDP query, same socket, p50", Task(OTHER_NODE, "udp-same")),
    Row("TCP connect, p50", Task(POD_HERE, "tcp-connect"), goal="1.20", past="1.06"),
    Row("TCP connect, p99", Task(POD_HERE, "tcp-connect"), 0.99),
    Row("TCP request, live connection, p50", Task(POD_HERE, "tcp-exchange"), goal="1.09", past="0.92"),
    Row("UDP query, fresh socket, p50", Task(POD_HERE, "udp-fresh")),
    Row("64-byte datagrams a second", Task(POD_HERE, BURST), goal=">= 0.95", past=">= 1.05"),
    Row("TCP connect, p50", Task(POD_HERE_LOCAL, "tcp-connect"), goal="1.20", past="1.06"),
    Row("TCP request, live connection, p50", Task(POD_HERE_LOCAL, "tcp-exchange"), goal="1.09", past="0.92"),
    Row("TCP connect, p50", Task(POD_THERE, "tcp-connect"), goal="1.30", past="1.15"),
    Row("TCP request, live connection, p50", Task(POD_THERE, "tcp-exchange"), goal="1.14", past="1.05"),
    Row("UDP query, fresh socket, p50", Task(POD_THERE, "udp-fresh")),
    Row("64-byte datagrams a second", Task(POD_THERE, BURST), goal=">= 0.95", past=">= 1.05"),
    Row("TCP connect, p50", Task(UNHOOKED, "tcp-connect"), goal="1.20"),
    Row("TCP request, live connection, p50", Task(UNHOOKED, "tcp-exchange"), goal="1.09"),
    Row("UDP query, same socket, p50", Task(UNHOOKED, "udp-same")),
)


def ratios(row: Row, turns: Turns, column: Named, to: Named) -> str:
    """Return one column compared with another, cycle by cycle: ratios of times, or of throughput."""
    figures = turns[row.task]
    if column not in figures:
        return "-"
    mine, theirs = ([at(turn, row.quantile) for turn in figures[one]] for one in (column, to))
    if row.task.operation == BURST:
        mine, theirs = theirs, mine
    return with_interval(over / under for over, under in zip(mine, theirs, strict=True))


def with_interval(values: Iterable[float]) -> str:
    """Return a median and half the width of its 95 % interval, by the ranks that it lies between (binomial)."""
    ordered = sorted(values)
    outside = max(0, int((len(ordered) - 1.96 * len(ordered) ** 0.5) / 2))
    return f"{statistics.median(ordered):.3f} ± {(ordered[-1 - outside] - ordered[outside]) / 2:.3f}"


def at(ordered: Sequence[float], quantile: float) -> float:
    """Return a quantile of figures in order."""
    return ordered[round((len(ordered) - 1) * quantile)]


def plainly(row: Row, turns: Turns) -> str:
    """Return the time of `direct`, or its throughput."""
    took = statistics.median(at(turn, row.quantile) for turn in turns[row.task][DIRECT, 0])
    if row.task.operation == BURST:
        return f"{DATAGRAMS_A_BURST * 1e6 / took:.0f} k/s"
    return f"{took / 1000:.2f} µs"


def print_latency(count: int, turns: Turns) -> None:
    """Print the table for one number of Services."""
    columns = ((AGAIN, 0), *((name, count) for name in WITH_SERVICES))
    rows: list[tuple[str, ...]] = []
    for way, of_way in groupby(ROWS, lambda row: row.task.way):
        rows.append((f"**{way.label}**", *[""] * (len(columns) + 4)))
        for row in of_way:
            against = (ratios(row, turns, column, (DIRECT, 0)) for column in columns)
            rows.append((row.label, plainly(row, turns), *against, row.goal, row.past, row.peer))
    head = ("operation", DIRECT, AGAIN, *WITH_SERVICES, "goal", "goal with host_routing", "Cilium 1.15's hooks")
    print_table(f"{count:,} Services: against `direct`, median over the cycles ± 95 %", head, rows)


def print_flatness(counts: Sequence[int], turns: Turns) -> None:
    """Print socklb with many Services compared with socklb with few."""
    few, *more = counts
    if more:
        rows = [
            (
                f"{row.task.way.label}: {row.label}",
                *(ratios(row, turns, (DEPLOYED, count), (DEPLOYED, few)) for count in more),
            )
            for row in ROWS
        ]
        title = f"{DEPLOYED}, with more Services against with {few:,}"
        print_table(title, ("operation", *(f"{count:,}" for count in more)), rows)


def print_loading(counts: Sequence[int], loading: Loading) -> None:
    """Print how long it took to load the Services into the kernel of one node."""
    rows = [
        (name, *(f"{loading[name, count]:.2f} s" if (name, count) in loading else "-" for count in counts))
        for name in WITH_SERVICES
    ]
    print_table("Services with 4 endpoints each into the kernel", ("", *(f"{count:,}" for count in counts)), rows)
