"""Figures: what every part of the bench returns, all of one shape, and what the tables on stdout are made from.

    values = quantile(milliseconds, 0.5)
    Figure("sync", "500 Services in files", "file change to kernel", "median", "ms", *values, goal="< 100 ms")

Not promised: that `noise` holds between two runs. It is what one run shows of itself, and a machine has busier hours.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec

from bench.table import markdown


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One measured figure.

    part, table, what, column: its place: a part of the bench, a table of it, the row and the column.
    noise: half the width of the 95 % interval of `value`; None where it was measured once.
    better: which direction is an improvement.
    goal: what was asked of it, in the words that are printed.
    """

    part: str
    table: str
    what: str
    column: str
    unit: str
    value: float
    noise: float | None = None
    better: Literal["lower", "higher"] = "lower"
    goal: str = ""

    @property
    def place(self) -> tuple[str, str, str, str, str]:
        """Return what the same figure of another run has too."""
        return self.part, self.table, self.what, self.column, self.unit

    @property
    def rounded(self) -> Figure:
        """Return it with five digits, which are enough for whoever reads it or compares it."""
        noise = None if self.noise is None else float(f"{self.noise:.5g}")
        return msgspec.structs.replace(self, value=float(f"{self.value:.5g}"), noise=noise)

    @property
    def text(self) -> str:
        """Return it, formatted for people."""
        counted = self.noise is None and self.value == int(self.value)
        places = 0 if counted else 3 if self.unit == "ratio" else digits(self.value)
        noise = "" if self.noise is None else f" ± {self.noise:,.{places}f}"
        unit = "" if self.unit == "ratio" else f" {self.unit}"
        return f"{self.value:,.{places}f}{noise}{unit}"


class Values(NamedTuple):
    """A figure, and half the width of its 95 % interval."""

    value: float
    noise: float | None


def quantile(values: Iterable[float], q: float = 0.5) -> Values:
    """Return a quantile and its interval, by the ranks that it lies between (binomial)."""
    ordered = sorted(values)
    count = len(ordered)
    reach = 1.96 * (count * q * (1 - q)) ** 0.5
    below, above = int(count * q - reach), int(count * (1 - q) - reach)
    value = statistics.median(ordered) if q == 0.5 else at(ordered, q)
    return Values(value, (ordered[-1 - above] - ordered[below]) / 2)


def at(ordered: Sequence[float], q: float) -> float:
    """Return a quantile of figures in order."""
    return ordered[round((len(ordered) - 1) * q)]


def digits(value: float) -> int:
    """Return how many decimal places leave three digits, and no more than three places."""
    return next((places for places, least in enumerate((100, 10, 1)) if abs(value) >= least), 3)


def print_tables(figures: Sequence[Figure]) -> None:
    """Print every table."""
    for title, of_title in tables(figures).items():
        print(f"\n{title}\n\n{of_title}", flush=True)


def tables(figures: Sequence[Figure], columns: Sequence[str] = ()) -> dict[str, str]:
    """Return every table by its title, with these columns or with all, each goal beside its figure."""
    found: dict[str, list[Figure]] = {}
    for figure in figures:
        found.setdefault(figure.table, []).append(figure)
    return {title: _table(of_title, columns) for title, of_title in found.items()}


def _table(figures: Sequence[Figure], columns: Sequence[str]) -> str:
    columns = columns or list(dict.fromkeys(figure.column for figure in figures))
    cells = {(figure.what, figure.column): cell(figure) for figure in figures}
    rows = dict.fromkeys(figure.what for figure in figures)
    return markdown(("", *columns), [(row, *(cells.get((row, one), "-") for one in columns)) for row in rows])


def cell(figure: Figure) -> str:
    """Return a figure, and its goal if it has one."""
    return figure.text + (f" [{figure.goal}]" if figure.goal else "")
