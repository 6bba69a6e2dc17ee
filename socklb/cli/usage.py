"""What `--help` and the manual page say of a verb: taken from the words at the head of its module.

    verb = verbs.add_parser("flow", help="…", **usage(__doc__))

The first paragraph says what the verb does, lines that begin with `socklb` are examples of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from types import MappingProxyType
from typing import TypedDict

WIDTH = 78  # of a line
CODES = MappingProxyType({0: "done", 1: "failed, with the reason on stderr", 2: "wrong usage", 130: "interrupted"})
STATUS_CODES = MappingProxyType({3: "status: no agent runs", 4: "status --wait: it was not in sync in time"})
CHECK_CODES = MappingProxyType({5: "check: something does not work"})


class Usage(TypedDict):
    """The arguments of a parser."""

    description: str
    epilog: str


def usage(text: str | None, codes: Mapping[int, str] = CODES) -> Usage:
    """Return what argparse is to print before and behind the arguments. codes: the exit codes and what they mean."""
    paragraphs = (text or "").strip().split("\n\n")
    name_and_purpose = " ".join(paragraphs[0].split())
    purpose = fill(name_and_purpose.rpartition("`: ")[2], WIDTH)
    examples = [line for paragraph in paragraphs for line in paragraph.splitlines() if line.startswith("socklb ")]
    return Usage(description=purpose[:1].upper() + purpose[1:], epilog=f"{_examples(examples)}\n\n{codes_text(codes)}")


def _examples(lines: list[str]) -> str:
    return "\n".join(["examples:", *(f"  {line}" for line in lines)])


def codes_text(codes: Mapping[int, str]) -> str:
    """List exit codes."""
    return "\n".join(["exit codes:", *(f"  {code:>3} {meaning}" for code, meaning in sorted(codes.items()))])
