"""How verbs print: aligned columns for people, one JSON document for programs."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec


class Verbs(Protocol):
    """What argparse's add_subparsers() gives: the place to add a verb to."""

    def add_parser(self, name: str, *, parents: Sequence[ArgumentParser] = ..., help: str = ...) -> ArgumentParser:  # noqa: A002
        """Add a verb."""
        ...


def say(line: str = "") -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")


def columns(rows: Sequence[Sequence[str]], indent: str = "") -> None:
    """Print rows with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say((indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip())


def json(document: Any) -> None:
    """Print a JSON document."""
    say(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
