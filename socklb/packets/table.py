"""The nftables table as it is: read back, made, changed, replaced, removed.

    table = Table(Nft())
    present = table.take_over()        # what an earlier agent left
    table.write([Change(before, after)])

A table of another version of socklb is replaced in one transaction together with all that is to be in it, so that
nobody meets an empty one.
"""

from __future__ import annotations

from collections.abc import Iterable

from socklb.packets import chains
from socklb.packets.commands import ORDER, Change, Transaction, commands, jumps, transactions
from socklb.packets.elements import MAPS, Element, parsed
from socklb.packets.nft import TABLE, Nft
from socklb.packets.skeleton import mark, skeleton

OURS = ("inet", "socklb")


class Table:
    """One table in the network namespace of its `Nft`."""

    def __init__(self, nft: Nft) -> None:
        self._nft = nft
        self._chains: set[str] = set()
        self.outdated = False

    def take_over(self) -> set[Element]:
        """Make sure of a table and give its elements."""
        self._chains, self.outdated = set(), False
        if OURS not in self._nft.tables():
            self._nft.run(skeleton())
            return set()
        names = {chain["name"] for chain in self._nft.chains("inet") if chain["table"] == OURS[1]}
        if mark() not in names:
            self.outdated = True
            return set()
        self._chains = {name for name in names if chains.is_chooser(name)}
        return {element for table in ORDER for element in self._elements(table)}

    def there(self) -> bool:
        """Say whether there is a table of ours."""
        return OURS in self._nft.tables()

    def whole(self) -> bool:
        """Say whether the table is there as it was made."""
        return any(chain["name"] == mark() and chain["table"] == OURS[1] for chain in self._nft.chains("inet"))

    def write(self, changes: Iterable[Change]) -> int:
        """Bring changes into the table; give how many elements were written."""
        if self.outdated:
            return self._replace(changes)
        written = 0
        for change in transactions(changes):
            self._nft.run(self._missing_chains(change.new) + change.commands + self._unused_chains(change))
            written += len(change.gone) + len(change.new)
        return written

    def _replace(self, changes: Iterable[Change]) -> int:
        new = [element for change in changes for element in change.after]
        made = self._missing_chains(new)
        self._nft.run(f"delete table {TABLE}\n{skeleton()}{made}{commands((), new)}")
        self.outdated = False
        return len(new)

    def remove(self) -> bool:
        """Remove the table; say whether there was one."""
        there = self.there()
        if there:
            self._nft.run(f"delete table {TABLE}")
        return there

    def _missing_chains(self, elements: Iterable[Element]) -> str:
        missing = jumps(elements) - self._chains
        self._chains |= missing
        return "".join(chains.chain(name) for name in sorted(missing))

    def _unused_chains(self, change: Transaction) -> str:
        """Take away what only one frontend could use; chains that all share stay for the next."""
        unused = {name for name in jumps(change.gone) - jumps(change.new) if chains.own_clients(name)}
        if not unused:
            return ""
        self._chains -= unused
        without_chain = {chains.own_clients(name) for name in unused} - set(map(chains.own_clients, self._chains))
        return "".join(f"delete chain {TABLE} {name}\n" for name in sorted(unused)) + "".join(
            f"delete map {TABLE} {name}\n" for name in sorted(without_chain)
        )

    def _elements(self, table: str) -> list[Element]:
        kind = "map" if table[:-1] in MAPS else "set"
        return [parsed(table, listed) for listed in self._nft.listed(kind, table)]
