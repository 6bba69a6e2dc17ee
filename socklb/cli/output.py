"""How verbs print: aligned columns for people, one JSON document for programs."""

from __future__ import annotations

import math
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec


class Verbs(Protocol):
    """What argparse's add_subparsers() gives: the place to add a verb to."""

    def add_parser(self, name: str, *, parents: Sequence[ArgumentParser] = ..., help: str = ...) -> ArgumentParser:  # noqa: A002
        """Add a verb."""
        ...


def seconds(text: str) -> float:
    """Read how long something may take, as an argument says it.

    Raises:
        ArgumentTypeError: it is no number, or one that is no duration.
    """
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise ArgumentTypeError(f"no duration ({text!r}); valid: seconds, 0 or more")
    return found


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
