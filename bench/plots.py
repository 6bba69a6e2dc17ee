"""The plots of docs/performance.md, as SVG: the same figures give the same bytes.

    drawn(Found(run.figures))["performance-changes.svg"]

Text stays text, so a reader's own font is used. A picture brings its paper, for a page may be dark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import StrMethodFormatter

from bench.columns import DEPLOYED, IPTABLES, NFTABLES
from bench.figures import Figure
from bench.latency_report import with_services
from bench.peers import part as peers
from bench.ways import OTHER_NODE, POD_HERE, POD_THERE, SAME_NODE

INK, QUIET, LINE = "#1b2430", "#55606e", "#c9d1d9"
COLOURS = ("#0b57a4", "#c2570c", "#8a939e")
RULES = {DEPLOYED: "socklb", NFTABLES: "rules of kube-proxy's shape, nftables", IPTABLES: "the same, iptables"}
PEERS = (peers.SOCKLB, *peers.MODES)
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "socklb",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": QUIET,
    "axes.edgecolor": LINE,
    "xtick.color": QUIET,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
}
WAYS = (SAME_NODE, OTHER_NODE, POD_HERE, POD_THERE)
CUT = 2.0  # a ratio: longer bars end there, and say how long they are


class Found:
    """The figures of a run, by their places."""

    def __init__(self, figures: Sequence[Figure]) -> None:
        self.figures = figures
        self._by_place = {(figure.table, figure.what, figure.column): figure for figure in figures}
        self.parts = {figure.part for figure in figures}

    def get(self, table: str, what: str, column: str) -> Figure:
        """Return a figure; KeyError if there is none."""
        return self._by_place[table, what, column]

    def of_part(self, part: str) -> list[Figure]:
        """Return all of a part."""
        return [figure for figure in self.figures if figure.part == part]

    def table_of(self, part: str) -> str:
        """Return the title of a part's first table."""
        return self.of_part(part)[0].table

    @property
    def counts(self) -> list[int]:
        """Return the numbers of Services that `latency` was measured with."""
        titles = {figure.table for figure in self.of_part("latency")}
        return sorted(
            int(found[1].replace(",", "")) for one in titles if (found := re.match(r"([\d,]+) Services:", one))
        )


def drawn(found: Found) -> dict[str, str]:
    """Return each picture that the run has figures for, by the name of its file."""
    plots: dict[str, tuple[str, Callable[[Found], Canvas]]] = {
        "performance-services.svg": ("latency", by_number),
        "performance-ways.svg": ("latency", by_way),
        "performance-programming.svg": ("peers", programming),
        "performance-changes.svg": ("peers", changes),
    }
    with mpl.rc_context(STYLE):
        return {name: as_svg(draw(found)) for name, (part, draw) in plots.items() if part in found.parts}


def as_svg(canvas: Canvas) -> str:
    """Return it as text, without the day and the program."""
    text = io.StringIO()
    canvas.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return re.sub(r"[ \t]+$", "", text.getvalue(), flags=re.MULTILINE)


def by_number(found: Found) -> Canvas:
    """Draw a new connection against the number of Services."""
    canvas, axes = panel(7, 3)
    for (column, label), colour in zip(RULES.items(), COLOURS, strict=True):
        points = list(of_column(found, f"{SAME_NODE.label}: TCP connect, p50", column))
        axes.plot(*zip(*points, strict=True), marker="o", color=colour, label=label)
    axes.set(xscale="log", yscale="log", xlabel="Services", ylabel="time / time without a Service")
    axes.set_title("New TCP connection, pod to pod on the same node", loc="left", fontsize=10)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_yticks([1, 2, 5, 10], minor=False)
    axes.minorticks_off()
    axes.legend()
    return canvas


def of_column(found: Found, what: str, column: str) -> Iterator[tuple[int, float]]:
    """Yield a column's ratio for each number of Services that it has."""
    for count in found.counts:
        try:
            yield count, found.get(with_services(count), what, column).value
        except KeyError:
            continue


def by_way(found: Found) -> Canvas:
    """Draw a new connection and a request on a live one, by ways."""
    table = with_services(max(count for count in found.counts if count <= 10_000))
    canvas = Canvas(figsize=(8, 3.6), layout="constrained")
    panels = canvas.subplots(1, 2, sharey=True)
    operations = {"TCP connect, p50": "New TCP connection", "TCP request, live connection, p50": "Live connection"}
    for axes, (operation, title) in zip(panels, operations.items(), strict=True):
        rows = [[found.get(table, f"{way.label}: {operation}", column) for way in WAYS] for column in RULES]
        bars(axes, [way.label for way in WAYS], rows, list(RULES.values()), CUT)
        axes.axvline(1, color=INK, linewidth=0.8)
        axes.set_xlim(0.8, CUT + 0.25)
        axes.set_title(title, loc="left", fontsize=10)
    canvas.supxlabel("time / time without a Service", fontsize=9, color=QUIET)
    canvas.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    return canvas


def programming(found: Found) -> Canvas:
    """Draw the time, CPU and memory of a start and a restart."""
    table, canvas = found.table_of("peers"), Canvas(figsize=(8, 3), layout="constrained")
    panels = canvas.subplots(1, 3, sharey=True)
    for axes, (what, unit) in zip(panels, ((peers.TIME, "s"), (peers.CPU, "s"), (peers.MEMORY, "MB")), strict=True):
        starts = (peers.START, peers.RESTART)
        rows = [[found.get(table, f"{start}: {what}", peer) for start in starts] for peer in PEERS]
        bars(axes, [start.replace(", ", ",\n") for start in starts], rows, PEERS)
        axes.set_title(f"{what}, {unit}", loc="left", fontsize=10)
    canvas.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    return canvas


def changes(found: Found) -> Canvas:
    """Draw from an endpoint's change to the first right packet: the median, and a line up to the 90th percentile."""
    table, (canvas, axes) = found.table_of("peers"), panel(7, 2.6)
    height = 0.8 / len(PEERS)
    for number, (peer, colour) in enumerate(zip(PEERS, COLOURS, strict=True)):
        for row, kind in enumerate((peers.IDLE, peers.BUSY)):
            median, high = (
                found.get(table, peers.right(kind, which), peer).value for which in (peers.MEDIAN, peers.HIGH)
            )
            at = row + (number - 1) * height
            axes.plot([median, high], [at, at], color=colour, linewidth=2)
            axes.plot([median], [at], "o", color=colour, label=peer if row == 0 else None)
            axes.annotate(
                f"{median:,.0f} … {high:,.0f} ms", (high, at), (6, 0), textcoords="offset points", va="center"
            )
    axes.set(xscale="log", xlabel="ms from the request to the API to the first right answer: median … 90th percentile")
    axes.set_yticks([0, 1], [kind.replace("change ", "change\n") for kind in (peers.IDLE, peers.BUSY)])
    axes.set_ylim(1.5, -0.5)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.margins(x=0.2)
    canvas.legend(loc="outside upper left", ncols=3)
    return canvas


def bars(
    axes: Axes, names: Sequence[str], rows: Sequence[Sequence[Figure]], labels: Sequence[str], cut: float = 0
) -> None:
    """Draw a bar for each name of each row, with its figure beside it."""
    height = 0.8 / len(rows)
    for number, (row, label, colour) in enumerate(zip(rows, labels, COLOURS, strict=True)):
        values = [min(figure.value, cut) if cut else figure.value for figure in row]
        drawn_bars = axes.barh(
            [one + (number - (len(rows) - 1) / 2) * height for one in range(len(names))],
            values,
            height * 0.9,
            color=colour,
            label=label,
        )
        texts = [short(figure) for figure in row]
        axes.bar_label(drawn_bars, texts, padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.25)


def short(figure: Figure) -> str:
    """Return a figure without its unit and its noise."""
    return f"{figure.value:.2f}" if figure.value < 10 else f"{figure.value:,.0f}"


def panel(width: float, height: float) -> tuple[Canvas, Axes]:
    """Return an empty picture."""
    canvas = Canvas(figsize=(width, height), layout="constrained")
    return canvas, canvas.subplots()
