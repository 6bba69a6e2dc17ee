"""The figures of bench/latency.py, each compared with `direct`, turn by turn; and their tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Literal, NamedTuple

from bench.columns import AGAIN, DEPLOYED, DIRECT, HOST_ROUTING, WITH_SERVICES, Loading
from bench.figures import Figure, Values, at, print_tables, quantile
from bench.table import print_table
from bench.ways import OTHER_NODE, POD_HERE, POD_HERE_LOCAL, POD_THERE, SAME_NODE, UNHOOKED, Way

PART = "latency"
LOADING = "Services with 4 endpoints each into the kernel"
BURST, DATAGRAMS_A_BURST = "udp-burst", 32  # as in worker/client.c
Named = tuple[str, int]  # a column: its name, and how many Services it has
Nanoseconds = dict[Named, list[list[float]]]  # by column: its turns, each in order


class Task(NamedTuple):
    """The worker's task in one run."""

    way: Way
    operation: str
    to_service: bool = True

    @property
    def text(self) -> str:
        """Return it, formatted for people."""
        return f"{self.way.label}: {self.operation}" + ("" if self.to_service else " to no Service")


Turns = dict[Task, Nanoseconds]


class Row(NamedTuple):
    """What the table says about a task."""

    label: str
    task: Task
    quantile: float = 0.5
    goal: str = ""  # for the node as deployed
    past: str = ""  # the goal with host_routing
    peer: str = ""  # the best peer's figure: Cilium's hooks, 1.15, by the same method

    @property
    def name(self) -> str:
        """Return what it is called among all figures."""
        return f"{self.task.way.label}: {self.label}"

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Return which ratio is an improvement."""
        return "higher" if self.task.operation == BURST else "lower"


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


def figures(counts: Sequence[int], turns: Turns, loading: Loading) -> Iterator[Figure]:
    """Yield all that was found."""
    for count in counts:
        for row in ROWS:
            yield from _against_direct(row, turns, count)
    few, *more = counts
    for count in more:
        for row in ROWS:
            values = ratios(row, turns, (DEPLOYED, count), (DEPLOYED, few))
            yield Figure(PART, flatness(few), row.name, f"{count:,}", "ratio", *values, better=row.better)
    for (name, count), seconds in loading.items():
        yield Figure(PART, LOADING, name, f"{count:,}", "s", seconds)


def with_services(count: int) -> str:
    """Return the title of the table for one number of Services."""
    return f"{count:,} Services: against `direct`, median over the cycles ± 95 %"


def flatness(few: int) -> str:
    """Return the title of the table of more Services against few."""
    return f"{DEPLOYED}, with more Services against with {few:,}"


def _against_direct(row: Row, turns: Turns, count: int) -> Iterator[Figure]:
    title, goals = with_services(count), {DEPLOYED: row.goal, HOST_ROUTING: row.past}
    unit, values = plainly(row, turns)
    yield Figure(PART, title, row.name, DIRECT, unit, *values, better=row.better)
    for name, services in ((AGAIN, 0), *((name, count) for name in WITH_SERVICES)):
        if (name, services) in turns[row.task]:
            values = ratios(row, turns, (name, services), (DIRECT, 0))
            yield Figure(PART, title, row.name, name, "ratio", *values, better=row.better, goal=goals.get(name, ""))


def ratios(row: Row, turns: Turns, column: Named, to: Named) -> Values:
    """Return one column compared with another, cycle by cycle: ratios of times, or of throughput."""
    mine, theirs = ([at(turn, row.quantile) for turn in turns[row.task][one]] for one in (column, to))
    if row.task.operation == BURST:
        mine, theirs = theirs, mine
    return quantile(over / under for over, under in zip(mine, theirs, strict=True))


def plainly(row: Row, turns: Turns) -> tuple[str, Values]:
    """Return the time of `direct`, or its throughput: the unit, and the figure."""
    took = [at(turn, row.quantile) for turn in turns[row.task][DIRECT, 0]]
    if row.task.operation == BURST:
        return "k/s", quantile(DATAGRAMS_A_BURST * 1e6 / one for one in took)
    return "µs", quantile(one / 1000 for one in took)


def print_latency(found: Sequence[Figure]) -> None:
    """Print the tables, those against `direct` with the goals and the peer in columns of their own."""
    for title, of_title in groupby(found, lambda figure: figure.table):
        figures = list(of_title)
        if figures[0].column != DIRECT:
            print_tables(figures)
            continue
        cells = {(figure.what, figure.column): figure.text for figure in figures}
        columns = (DIRECT, AGAIN, *WITH_SERVICES)
        rows: list[tuple[str, ...]] = []
        for way, of_way in groupby(ROWS, lambda row: row.task.way):
            rows.append((f"**{way.label}**", *[""] * (len(columns) + 3)))
            rows += [
                (row.label, *(cells.get((row.name, one), "-") for one in columns), row.goal, row.past, row.peer)
                for row in of_way
            ]
        print_table(title, ("operation", *columns, "goal", "goal with host_routing", "Cilium 1.15's hooks"), rows)
