"""Two runs beside each other: what differs by more than the noise of both.

    python -m bench compare build/bench/A.json build/bench/B.json

Two figures differ where their 95 % intervals do not meet. A figure that was measured once has no interval, and nothing
is said of it. Runs of different machines, or of one with another load, differ for reasons of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from bench.figures import Figure
from bench.runs import Machine, read
from bench.table import print_table

WITHIN, UNKNOWN = "noise", "measured once"


def main(first: Path, second: Path) -> None:
    """Print both machines, and each figure that both runs have."""
    one, other = read(first), read(second)
    print_table("Runs", ("", "A", "B"), machines(one.machine, other.machine))
    of_other = {figure.place: figure for figure in other.figures}
    pairs = [(figure, of_other[figure.place]) for figure in one.figures if figure.place in of_other]
    for (part, title), of_table in groupby(pairs, lambda pair: (pair[0].part, pair[0].table)):
        print_table(f"{part}: {title}", ("", "", "A", "B", "B / A", "B is"), [row(*pair) for pair in of_table])
    print(f"\n{len(pairs)} figures are in both; {len(one.figures) - len(pairs)} only in A,", end=" ")
    print(f"{len(other.figures) - len(pairs)} only in B")


def machines(one: Machine, other: Machine) -> Sequence[tuple[str, str, str]]:
    """Return the rows of what is known of both."""
    return [(name, str(getattr(one, name)), str(getattr(other, name))) for name in Machine.__struct_fields__]


def row(one: Figure, other: Figure) -> tuple[str, ...]:
    """Return the row of a figure."""
    ratio = f"{other.value / one.value:.3f}" if one.value else "-"
    return one.what, one.column, one.text, other.text, ratio, verdict(one, other)


def verdict(one: Figure, other: Figure) -> str:
    """Return what the second is, compared with the first."""
    if one.noise is None or other.noise is None:
        return UNKNOWN
    if abs(other.value - one.value) <= one.noise + other.noise:
        return WITHIN
    return "better" if (other.value < one.value) == (one.better == "lower") else "worse"
