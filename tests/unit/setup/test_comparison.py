"""docs/comparison.md: its figures are those of docs/benchmarks.md, and each source that it names is told at its end."""

import re
from pathlib import Path

from setup.picture import PAGE, ROOT, figures

COMPARISON = ROOT / "docs/comparison.md"
OPERATIONS = {
    "TCP connect": "TCP connect, p50",
    "request on a live connection": "TCP request, live connection, p50",
}
COLUMNS = ("socklb, as deployed", "nftables rules", "iptables rules")


def rows(page: Path, heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading."""
    section = page.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:2] == "| "]


def test_its_figures_are_those_of_the_benchmarks() -> None:
    (_, *columns), *measured = rows(COMPARISON, "Figures")
    assert columns[:3] == list(COLUMNS)
    ways = [(way, *values) for way, *values in measured if ": " in way]
    assert len(ways) == len(measured) - 1  # and getpeername()
    for name, *values in ways:
        way, operation = name.split(": ")
        read = figures(PAGE.read_text(), way, OPERATIONS[operation])
        assert [float(value) for value in values[:3]] == [read[column] for column in COLUMNS], name


def test_each_source_is_told_and_used() -> None:
    told = [row[0] for row in rows(COMPARISON, "Sources")][1:]
    used = {name for group in re.findall(r"\\\[([\w, ]+)\]", COMPARISON.read_text()) for name in group.split(", ")}
    assert set(told) == used
    assert len(told) == len(set(told))
