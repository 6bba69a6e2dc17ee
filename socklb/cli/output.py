"""How verbs print: aligned columns for people, one JSON document for programs."""

from __future__ import annotations

import math
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from json import dumps
from typing import TYPE_CHECKING, Any, Protocol

from socklb.lines import aligned

if TYPE_CHECKING:
    from socklb.status.collected import Row

SHOWN = 8  # backends of a frontend


class Verbs(Protocol):
    """What argparse's add_subparsers() gives: the place to add a verb to."""

    def add_parser(
        self,
        name: str,
        *,
        parents: Sequence[ArgumentParser] = ...,
        help: str = ...,  # noqa: A002
        description: str = ...,
        epilog: str = ...,
    ) -> ArgumentParser:
        """Add a verb."""
        ...


def takes_a_file(argument: Any) -> None:
    """Have shells complete an argument by the names of files, as `shtab.FILE` says it."""
    argument.complete = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}


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
    for line in aligned(rows, indent):
        say(line)


def backends(row: Row, *, wide: bool) -> str:
    """Return who serves a frontend: some of many, unless all are wanted."""
    if not row["path"]:
        return "NOT SERVED: see socklb status"
    found: list[str] = row["backends"]
    more = 0 if wide else len(found) - SHOWN
    shown = ", ".join(found[:SHOWN] if more > 0 else found)
    return f"{shown} and {more} more" if more > 0 else shown or "none: refused"


def json(document: Any) -> None:
    """Print a JSON document."""
    say(dumps(document, indent=2, ensure_ascii=False))
