"""The table without its elements, from the .nft files beside this one. Pure."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from importlib import resources
from typing import NamedTuple

from socklb.packets import chains
from socklb.packets.nft import TABLE
from socklb.serving import ANY4, ANY6, Frontend

FAMILIES = (
    {"@IP@": "ip", "@ADDRESS@": "ipv4_addr", "@V@": "4", "@NFPROTO@": "ipv4", "@LOOPBACK@": "127.0.0.1"},
    {"@IP@": "ip6", "@ADDRESS@": "ipv6_addr", "@V@": "6", "@NFPROTO@": "ipv6", "@LOOPBACK@": "::1"},
)


def skeleton() -> str:
    """Give the commands that make the table, with a chain that names this very skeleton."""
    return f"add table {TABLE}\n{_text()}add chain {TABLE} {mark()}\n"


def mark() -> str:
    """Name the skeleton: one that differs in anything has another name."""
    frontends = Frontend(ANY4, 1, 6), Frontend(ANY6, 1, 6)
    known = _text() + "".join(chains.chain(chains.chooser(f, 1, seconds)) for f in frontends for seconds in (0, 1))
    return f"skeleton-{hashlib.sha256(known.encode()).hexdigest()[:12]}"


class Outline(NamedTuple):
    """Names of sets and maps, and how many rules each chain has."""

    sets: frozenset[str]
    rules: dict[str, int]


def outline(commands: str) -> Outline:
    """Say what commands make."""
    rules = Counter(re.findall(rf"^add rule {TABLE} (\S+)", commands, re.MULTILINE))
    made = re.findall(rf"^add chain {TABLE} (\S+)", commands, re.MULTILINE)
    sets = re.findall(rf"^add (?:set|map) {TABLE} (\S+)", commands, re.MULTILINE)
    return Outline(frozenset(sets), {name: rules[name] for name in made})


def _text() -> str:
    files = resources.files("socklb.packets")
    family = files.joinpath("family.nft").read_text()
    text = files.joinpath("table.nft").read_text() + "".join(_for_family(family, words) for words in FAMILIES)
    return re.sub(r"^(#.*)?\n", "", text, flags=re.MULTILINE)  # a comment makes no other table


def _for_family(text: str, words: dict[str, str]) -> str:
    for name, word in words.items():
        text = text.replace(name, word)
    return text
