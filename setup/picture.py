"""Draw README's picture from the figures of docs/benchmarks.md: `make format`.

    drawn(text, DARK)       # the SVG, from the page's text, for a dark page

Each bar is what a Service adds to the time that a client waits, in percent of the time without a Service. The figures
are those with 10,000 Services. A bar that is longer than the picture ends in a gap, and its number stands beside it.
The picture brings its paper, for a page may be dark where the reader's system is light.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from jinja2 import Environment, FileSystemLoader, StrictUndefined

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
PICTURES = ROOT / "docs" / "pictures"
COLUMNS = MappingProxyType(
    {"socklb, as deployed": "socklb", "nftables rules": "nftables", "iptables rules": "iptables"}
)
OPERATIONS = MappingProxyType(
    {"TCP connect, p50": "New TCP connection", "TCP request, live connection, p50": "Request on a live connection"}
)
WAYS = (
    "pod to pod, same node",
    "pod to pod, other node",
    "outside to NodePort, pod here",
    "outside to NodePort, pod on another node",
)
LONGEST = 70  # percent: what a bar at the right edge stands for
LIGHT = MappingProxyType(
    {
        "paper": "#ffffff",
        "ink": "#1b2430",
        "quiet": "#55606e",
        "line": "#c9d1d9",
        "bars": ("#0b57a4", "#c2570c", "#8a939e"),
    }
)
DARK = MappingProxyType(
    {
        "paper": "#12171d",
        "ink": "#e6eaf0",
        "quiet": "#a3aebb",
        "line": "#3d4854",
        "bars": ("#6cb2ff", "#ff9f5c", "#77828f"),
    }
)
FILES = MappingProxyType({"cost-light.svg": LIGHT, "cost-dark.svg": DARK})


@dataclass(frozen=True)
class Bar:
    """What one column adds, in percent, and how long its bar is, from 0 to 1."""

    added: float

    @property
    def length(self) -> float:
        return max(0.0, min(1.0, self.added / LONGEST))

    @property
    def is_cut(self) -> bool:
        return self.added > LONGEST

    @property
    def label(self) -> str:
        return f"+{self.added:,.0f} %" if self.added >= 1 else f"+{self.added:.1f} %"


def drawn(text: str, theme: MappingProxyType[str, object]) -> str:
    """Return the picture, as SVG."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=True, trim_blocks=True
    )
    panels = [(title, list(bars(text, operation))) for operation, title in OPERATIONS.items()]
    template = environment.get_template("picture.svg.j2")
    return template.render(panels=panels, names=list(COLUMNS.values()), longest=LONGEST, **theme) + "\n"


def bars(text: str, operation: str) -> Iterator[tuple[str, list[Bar]]]:
    """Yield each way with a bar for each column."""
    for way in WAYS:
        ratios = figures(text, way, operation)
        yield way, [Bar((ratios[column] - 1) * 100) for column in COLUMNS]


def figures(text: str, way: str, operation: str) -> dict[str, float]:
    """Return the ratio in each column of one row, from the first table of the page that has goals: 10,000 Services."""
    table = text[text.index("| operation | direct | again |") :].split("\n\n", maxsplit=1)[0].splitlines()
    names = [cell.strip(" `") for cell in table[0].strip("|").split("|")]
    rows = iter(table)
    next(row for row in rows if row.startswith(f"| **{way}** |"))
    cells = next(row for row in rows if row.startswith(f"| {operation} |")).strip("|").split("|")
    ratios = (re.match(r" (\d+\.\d+) ±", cell) for cell in cells)
    return {name: float(found[1]) for name, found in zip(names, ratios, strict=True) if found}


def main() -> None:
    for name, theme in FILES.items():
        (PICTURES / name).write_text(drawn(PAGE.read_text(), theme))


if __name__ == "__main__":
    main()
