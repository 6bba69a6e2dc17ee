"""The positions of marks in a latency plot: a row for each thing measured, on one axis that begins at zero.

The thin line spans the 5th to the 95th percentile, the thick one the middle half, the mark is the median.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labs.engine.language import told
from labs.engine.latency import Latencies

WIDTH, LEFT, RIGHT, ROW = 640.0, 16.0, 24.0, 58.0
_STEPS = (1, 2, 5)


@dataclass(frozen=True)
class Row:
    name: str
    samples: int
    y: float
    values: Mapping[int, float]  # microseconds by percentile: 5, 25, 50, 75, 95
    x: Mapping[int, float]


@dataclass(frozen=True)
class Plot:
    what: str
    rows: Sequence[Row]
    ticks: Sequence[tuple[float, str]]  # x, label
    height: float
    width: float = WIDTH


def plot(measured: Latencies) -> Plot:
    by_name = {name: sorted(samples) for name, samples in measured.microseconds.items() if samples}
    longest = max((percentile(samples, 95) for samples in by_name.values()), default=1.0)
    scale = (WIDTH - LEFT - RIGHT) / (longest or 1.0)
    rows = [_row(name, samples, 20 + ROW * at, scale) for at, (name, samples) in enumerate(by_name.items())]
    ticks = [(LEFT + value * scale, f"{value:g}") for value in _round_values(longest or 1.0)]
    return Plot(told(measured.what), rows, ticks, 20 + ROW * len(rows) + 40)


def percentile(ordered: Sequence[float], part: int) -> float:
    """Return the value between the two samples next to this rank, weighted by its distance to them."""
    rank = (len(ordered) - 1) * part / 100
    low = int(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)


def _row(name: str, samples: Sequence[float], y: float, scale: float) -> Row:
    values = {part: percentile(samples, part) for part in (5, 25, 50, 75, 95)}
    return Row(told(name), len(samples), y, values, {part: LEFT + value * scale for part, value in values.items()})


def _round_values(longest: float) -> list[float]:
    """Return four to ten round values, beginning with zero."""
    steps = (digit * 10.0**power for power in range(-3, 10) for digit in _STEPS)
    step = next((step for step in steps if longest / step <= 8), longest / 8)
    return [step * number for number in range(int(longest / step) + 1)]
