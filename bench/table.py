"""Markdown tables on stdout."""

from __future__ import annotations

from collections.abc import Sequence


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table below a line that says what it shows."""
    lines = [head, ["---"] * len(head), *rows]
    print(f"\n{title}\n")
    for line in lines:
        print(f"| {' | '.join(line)} |", flush=True)
