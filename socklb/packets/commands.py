"""From differences between elements to nft commands, in transactions of a bearable size. Pure.

for group in groups([Change(before, after), ...]):
    nft.run(commands(*difference(group)))
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from socklb.packets.elements import ADDRESS_SETS, MAPS, SETS, Element
from socklb.packets.nft import TABLE
from socklb.serving import Frontend

LIMIT = 4000  # elements in a transaction: some 10 MB in libnftables
FAMILIES = (4, 6)
ORDER = [f"{name}{family}" for name in (*MAPS, *SETS, *ADDRESS_SETS) for family in FAMILIES]


class Change(NamedTuple):
    """What belongs together, before and after: the elements of one frontend, or, without one, of sets of addresses."""

    before: AbstractSet[Element]
    after: AbstractSet[Element]
    frontend: Frontend | None = None


def groups(changes: Iterable[Change], limit: int = LIMIT) -> Iterator[list[Change]]:
    """Give what goes into one transaction after the other. A frontend is never cut in two."""
    group: list[Change] = []
    size = 0
    for change in changes:
        group.append(change)
        size += len(change.before ^ change.after)
        if size >= limit:
            yield group
            group, size = [], 0
    if group:
        yield group


def difference(group: Iterable[Change]) -> tuple[list[Element], list[Element]]:
    """Give the elements that go and those that come."""
    gone: list[Element] = []
    new: list[Element] = []
    for change in group:
        gone += change.before - change.after
        new += change.after - change.before
    return gone, new


def commands(gone: Iterable[Element], new: Iterable[Element]) -> str:
    """Give the commands that take elements away and add others, an element with other data in one step."""
    return "".join(_elements("delete", gone, reversed(ORDER))) + "".join(_elements("add", new, ORDER))


def jumps(elements: Iterable[Element]) -> set[str]:
    """Give the chains that elements lead to."""
    return {str(element.data[1]) for element in elements if element.data and element.data[0] == "jump"}


def _elements(verb: str, elements: Iterable[Element], order: Iterable[str]) -> Iterator[str]:
    by_table: dict[str, list[str]] = defaultdict(list)
    for element in elements:
        by_table[element.table].append(_text(element, with_data=verb == "add"))
    for table in order:
        if table in by_table:
            yield f"{verb} element {TABLE} {table} {{ {', '.join(sorted(by_table[table]))} }}\n"


def _text(element: Element, *, with_data: bool) -> str:
    key = " . ".join(map(str, element.key))
    if not element.data or not with_data:
        return key
    joiner = " " if element.data[0] == "jump" else " . "
    return f"{key} : {joiner.join(map(str, element.data))}"
