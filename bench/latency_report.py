"""What is printed of bench/latency.py's figures: each against `direct`, turn by turn."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from bench.table import print_table

DIRECT, AGAIN = "direct", "direct again"
WAYS = ("socklb", "packets", "nftables", "iptables")
Way = tuple[str, int]  # a column of the table, and how many Services it has
Figures = dict[Way, list[list[float]]]  # nanoseconds by way: its turns, each in order
Turns = Mapping[tuple[str, bool], Figures]  # by operation and whether it goes to a Service


class Row(NamedTuple):
    """What the table says about an operation of the worker."""

    label: str
    operation: str
    quantile: float = 0.5
    to_service: bool = True
    peer: str = ""  # the best peer's figure: Cilium 1.15, by the same method
    goal: str = ""


ROWS = (
    Row("TCP connect, p50", "tcp-connect", peer="1.06-1.07", goal="1.02"),
    Row("TCP connect, p99", "tcp-connect", 0.99, peer="1.7-2.0", goal="noise"),
    Row("TCP connect to no Service, p50", "tcp-connect", to_service=False, peer="1.004-1.017", goal="1.005"),
    Row("UDP query, fresh socket, p50", "udp-fresh", peer="1.15", goal="1.04"),
    Row("UDP query, same socket, p50", "udp-same"),
    Row("TCP request on a live connection, p50", "tcp-exchange"),
    Row("getpeername, p50", "getpeername", peer="1.31", goal="1.08"),
)


def ratios(row: Row, turns: Turns, column: Way, to: Way) -> str:
    """Give one column against another, cycle by cycle."""
    figures = turns[row.operation, row.to_service]
    if column not in figures:
        return "-"
    return with_interval(
        at(mine, row.quantile) / at(theirs, row.quantile)
        for mine, theirs in zip(figures[column], figures[to], strict=True)
    )


def with_interval(values: Iterable[float]) -> str:
    """Give a median and half the width of its 95 % interval, by the ranks that it lies between (binomial)."""
    ordered = sorted(values)
    outside = max(0, int((len(ordered) - 1.96 * len(ordered) ** 0.5) / 2))
    return f"{statistics.median(ordered):.3f} ± {(ordered[-1 - outside] - ordered[outside]) / 2:.3f}"


def at(ordered: Sequence[float], quantile: float) -> float:
    """Give a quantile of figures in order."""
    return ordered[round((len(ordered) - 1) * quantile)]


def print_latency(count: int, turns: Turns) -> None:
    """Print the table of one number of Services."""
    columns = ((AGAIN, 0), *((way, count) for way in WAYS))
    rows: list[tuple[str, ...]] = []
    for row in ROWS:
        direct = [at(turn, row.quantile) for turn in turns[row.operation, row.to_service][DIRECT, 0]]
        against = (ratios(row, turns, column, (DIRECT, 0)) for column in columns)
        rows.append((row.label, f"{statistics.median(direct) / 1000:.2f} µs", *against, row.goal, row.peer))
    head = ("operation", DIRECT, AGAIN, *WAYS, "goal", "Cilium 1.15")
    print_table(f"{count:,} Services: against `direct`, median over the cycles ± 95 %", head, rows)


def print_flatness(counts: Sequence[int], turns: Turns) -> None:
    """Print socklb with many Services against socklb with few."""
    few, *more = counts
    if more:
        rows = [
            (row.label, *(ratios(row, turns, ("socklb", count), ("socklb", few)) for count in more)) for row in ROWS
        ]
        print_table(
            f"socklb with more Services against socklb with {few:,}",
            ("operation", *(f"{count:,}" for count in more)),
            rows,
        )


def print_loading(counts: Sequence[int], loading: Mapping[Way, float]) -> None:
    """Print what it took to make the Services known to the kernel."""
    rows = [
        (name, *(f"{loading[name, count]:.2f} s" if (name, count) in loading else "-" for count in counts))
        for name in WAYS
    ]
    print_table("Services with 4 endpoints each into the kernel", ("", *(f"{count:,}" for count in counts)), rows)
