"""The nftables table as it is: read back, made, changed, mended, replaced, removed.

    table = Table(Nft())
    present = table.take_over()        # what an earlier agent left
    table.write([Change(before, after)])
    table.damage()                     # what somebody else did to it

A table of another version of socklb is replaced in one transaction together with all that is to be in it, so that
nobody meets an empty one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from socklb.packets import chains, ruleset, skeleton
from socklb.packets.commands import ORDER, Change, commands, difference, jumps
from socklb.packets.elements import MAPS, Element, parsed
from socklb.packets.nft import TABLE, Nft, RefusedError


class Table:
    """One table in the network namespace of its `Nft`."""

    def __init__(self, nft: Nft) -> None:
        self._nft = nft
        self._forget()

    def _forget(self) -> None:
        self.outdated = False
        self._choosers: set[str] = set()
        self._counts: Counter[str] = Counter()  # elements of each map and set
        self._digests: dict[str, bytes] = {}  # of the rules of each chain, as they were when first looked at
        self._seen: int | None = None  # the generation of the ruleset in which the table is known to be whole

    def take_over(self) -> set[Element]:
        """Make sure of a table with all its rules, and give its elements.

        Raises:
            RefusedError: nftables refused.
            OSError: netlink refused.
        """
        digests = self._digests
        self._forget()
        found = ruleset.read()
        if found is None:
            self._run(skeleton.skeleton())
            return set()
        self._digests = digests
        self._choosers = {name for name in found.chains if chains.is_chooser(name)}
        self.outdated = skeleton.mark() not in found.chains or bool(self._wrong(found) and not self._mended())
        if self.outdated:
            self._choosers = set()
            return set()
        present = {element for table in ORDER for element in self._elements(table)}
        self._counts = Counter(element.table for element in present)
        return present

    def _mended(self) -> bool:
        """Make all rules anew, in one transaction; elements stay. False: only a new table helps."""
        try:
            self._run(f"add table {TABLE}\nflush table {TABLE}\n{self._text()}")
        except RefusedError:
            return False
        self._digests = {}
        return True

    def there(self) -> bool:
        """Say whether there is a table of ours."""
        return ruleset.read() is not None

    def whole(self) -> bool:
        """Say whether its rules are as this version makes them; for those who know nothing of its elements."""
        found = ruleset.read()
        if found is None or skeleton.mark() not in found.chains:
            return False
        self._choosers = {name for name in found.chains if chains.is_chooser(name)}
        return not self._wrong(found)

    @property
    def untouched(self) -> bool:
        """Whether nobody changed any rules since the table was known to be whole. Any thread may ask.

        Raises:
            OSError: netlink refused.
        """
        return ruleset.generation() == self._seen

    def damage(self) -> str:
        """Say what is not as it was made; empty if all is. As long as nobody changes any rules it takes 0.1 ms.

        Raises:
            OSError: netlink refused.
        """
        now = ruleset.generation()
        if now == self._seen:
            return ""
        found = ruleset.read()
        wrong = "the table is gone" if found is None else self._wrong(found) or self._wrong_elements()
        self._seen = None if wrong else now
        return wrong

    def _text(self) -> str:
        return skeleton.skeleton() + "".join(chains.chain(name) for name in sorted(self._choosers))

    def _wrong(self, found: ruleset.Ruleset) -> str:
        """Compare all but elements with the commands that made it."""
        wanted = skeleton.outline(self._text())
        if found.asleep:
            return "the table is dormant"
        if missing := sorted((wanted.sets - found.sets) | (wanted.rules.keys() - found.chains.keys())):
            return f"{missing[0]} is gone"
        for name, rules in wanted.rules.items():
            if (now := found.chains[name].rules) != rules:
                return f"chain {name} has {now} of {rules} rules"
            if found.chains[name].drops:
                return f"the policy of chain {name} is drop"
            if self._digests.setdefault(name, found.chains[name].digest) != found.chains[name].digest:
                return f"chain {name} has other rules"
        return ""

    def _wrong_elements(self) -> str:
        for name in ORDER:
            if (now := ruleset.count(name)) != self._counts[name]:
                return f"{name} has {now} of {self._counts[name]} elements"
        return ""

    def write(self, changes: Sequence[Change]) -> int:
        """Bring changes into the table in one transaction; give how many elements were written.

        Raises:
            RefusedError: nftables refused; nothing of it was done.
        """
        gone, new = difference(changes)
        if not gone and not new:
            return 0
        missing, unused = jumps(new) - self._choosers, _own(gone, new)
        left = (self._choosers | missing) - unused
        self._run(_made(missing) + commands(gone, new) + _removed(unused, left))
        self._choosers = left
        self._counts.update(element.table for element in new)
        self._counts.subtract(element.table for element in gone)
        return len(gone) + len(new)

    def replace(self, changes: Iterable[Change] = ()) -> int:
        """Make the table anew with what changes lead to and nothing else; give how many elements that is.

        Raises:
            RefusedError: nftables refused; the old one goes on serving.
        """
        new = [element for change in changes for element in change.after]
        choosers = jumps(new)
        table = f"add table {TABLE}\ndelete table {TABLE}\n{skeleton.skeleton()}"
        self._run(f"{table}{_made(choosers)}{commands((), new)}")
        self._forget()
        self._choosers, self._counts = choosers, Counter(element.table for element in new)
        return len(new)

    def remove(self) -> bool:
        """Remove the table; say whether there was one."""
        there = ("inet", "socklb") in self._nft.tables()
        if there:
            self._nft.run(f"delete table {TABLE}")
        return there

    def _run(self, text: str) -> None:
        """Run a transaction, and see that it was the only one since the last."""
        before = ruleset.generation()
        self._nft.run(text)
        alone = before == self._seen and ruleset.generation() == before + 1
        self._seen = before + 1 if alone else None

    def _elements(self, table: str) -> list[Element]:
        kind = "map" if table[:-1] in MAPS else "set"
        return [parsed(table, listed) for listed in self._nft.listed(kind, table)]


def _made(names: Iterable[str]) -> str:
    return "".join(chains.chain(name) for name in sorted(names))


def _removed(unused: set[str], left: set[str]) -> str:
    """Take chains away, and the maps of clients that no chain uses any more."""
    if not unused:
        return ""
    maps = {chains.own_clients(name) for name in unused} - {chains.own_clients(name) for name in left}
    return "".join(f"delete chain {TABLE} {name}\n" for name in sorted(unused)) + "".join(
        f"delete map {TABLE} {name}\n" for name in sorted(maps)
    )


def _own(gone: Iterable[Element], new: Iterable[Element]) -> set[str]:
    """Give the chains that only one frontend could use and no longer does; those that all share stay for the next."""
    return {name for name in jumps(gone) - jumps(new) if chains.own_clients(name)}
