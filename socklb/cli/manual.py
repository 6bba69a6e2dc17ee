"""The manual page socklb(8), made of what `--help` says: `python -m socklb.cli.manual >socklb.8`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from socklb import __version__
from socklb.cli import parser
from socklb.command import Parser


def page() -> str:
    """Return the page, in roff's man macros."""
    top = parser()
    lines = [f'.TH SOCKLB 8 "" "socklb {__version__}" "socklb"']
    lines += [".SH NAME", rf"socklb \- {_escaped(top.description or '')}", ".SH DESCRIPTION", *_as_it_stands(top)]
    lines.append(".SH COMMANDS")
    for verb in _verbs(top):
        lines += [f'.SS "{verb.prog}"', *_as_it_stands(verb)]
    return "\n".join(lines) + "\n"


def _verbs(of: Parser) -> Iterator[Parser]:
    """Yield the verbs that do something: of `socklb service` that is `socklb service list`."""
    for verb in of.verbs:
        yield from list(_verbs(verb)) or [verb]


def _as_it_stands(of: Parser) -> list[str]:
    return [".nf", *map(_escaped, of.format_help().splitlines()), ".fi"]


def _escaped(text: str) -> str:
    r"""Have roff print a line as it is: \ and - mean something to it, and so do . and ' at the beginning."""
    found = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{found}" if found.startswith((".", "'")) else found


if __name__ == "__main__":
    sys.stdout.write(page())
