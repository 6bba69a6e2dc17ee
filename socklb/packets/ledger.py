"""What the table has, what it is to have, and what of that is still to be written. Pure: it knows no nftables.

    ledger.want(difference)
    for change in ledger.changes(ledger.fresh, again=False):
        ledger.done([change])           # it was written
        ledger.aside[frontend] = why    # or refused

What an earlier agent left goes only when everything is known, `synced`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from socklb.packets.commands import Change
from socklb.packets.elements import (
    ADDRESS_SETS,
    Element,
    address_elements,
    elements_of,
    frontend_of,
    network_elements,
    tokens_in,
)
from socklb.packets.wanted import Wanted, Written
from socklb.serving import Addresses, Difference, Frontend, Serving

NOTHING = frozenset[Element]()


class Ledger:
    """See the module."""

    def __init__(self, pod_cidrs: Sequence[str], native_cidrs: Sequence[str]) -> None:
        self.synced = False
        self.aside: dict[Frontend, str] = {}  # why nftables refuses it
        self._behind: set[Frontend] = set()  # not written yet as they are wanted
        self._moved: dict[Element, bool] = {}  # elements of the sets of addresses: whether they are to be there
        self._wanted = Wanted()
        self._fixed = network_elements("pods", pod_cidrs) | network_elements("native", native_cidrs)
        self._service_cidrs: set[Element] = set()
        self._left: dict[Frontend, frozenset[Element]] = {}  # what an earlier agent wrote
        self._written: dict[Frontend, Written] = {}
        self._addresses: set[Element] = set()  # those present in the sets of addresses

    def want(self, difference: Difference) -> None:
        """Note a difference."""
        touched = self._wanted.update(difference)
        self._behind |= touched
        for frontend in touched:
            self.aside.pop(frontend, None)
        self._moved |= dict.fromkeys(address_elements(difference.remove), False)
        self._moved |= dict.fromkeys(address_elements(difference.add), True)

    def want_all(self, frontends: Mapping[Frontend, Serving], addresses: Addresses) -> None:
        """Note that this is everything."""
        had = self._wanted.addresses
        gone = frozenset(self._wanted.frontends.keys() - frontends.keys())
        self.want(Difference(frontends, gone, addresses.without(had), had.without(addresses)))
        self.synced = True
        self._compare()

    def want_networks(self, service_cidrs: Iterable[str]) -> bool:
        """Note in which networks to refuse what no Service has; say whether that is new."""
        before, self._service_cidrs = self._service_cidrs, network_elements("service_cidrs", service_cidrs)
        self._moved |= dict.fromkeys(before, False) | dict.fromkeys(self._service_cidrs, True)
        return before != self._service_cidrs

    def read_back(self, present: Iterable[Element]) -> None:
        """Begin anew with what the table has."""
        found: dict[Frontend, set[Element]] = defaultdict(set)
        self._addresses = set()
        for element in present:
            if element.table[:-1] in ADDRESS_SETS:
                self._addresses.add(element)
            else:
                found[frontend_of(element)].add(element)
        self._left = {frontend: frozenset(elements) for frontend, elements in found.items()}
        self._written = {}
        self._compare()

    def _compare(self) -> None:
        wanted = address_elements(self._wanted.addresses) | self._fixed | self._service_cidrs
        self._behind |= self._wanted.everything()
        self._moved = dict.fromkeys(wanted, True)
        if self.synced:
            self._behind |= self._left.keys() | self._written.keys()
            self._moved |= dict.fromkeys(self._addresses - wanted, False)

    @property
    def fresh(self) -> set[Frontend]:
        """What is to be written and was not refused."""
        return self._behind - self.aside.keys()

    @property
    def lags(self) -> bool:
        """Whether anything is to be written, but for what was refused."""
        return len(self._behind) > len(self.aside) or bool(self._moved)

    def serving(self, frontends: Iterable[Frontend]) -> dict[Frontend, Serving | None]:
        """Say how those of these are served that were written."""
        return {frontend: self._wanted.serving(frontend) for frontend in frontends if frontend not in self._behind}

    def changes(self, frontends: Iterable[Frontend], *, again: bool) -> Iterator[Change]:
        """Give what is to change; `again`: also what was refused.

        What is new of the addresses comes after the frontends: without one a Service's address is refused.
        """
        self._moved = {
            element: there for element, there in self._moved.items() if there != (element in self._addresses)
        }
        new = {element for element, there in self._moved.items() if there}
        refused = list(self.aside) if again else []
        yield Change(self._moved.keys() - new, NOTHING)
        yield from map(self._change, frontends)
        yield Change(NOTHING, new)
        yield from map(self._change, refused)

    def _change(self, frontend: Frontend) -> Change:
        after = self._after(frontend)
        elements = frozenset(elements_of(frontend, *after)) if after else NOTHING
        return Change(self._before(frontend), elements, frontend)

    def _after(self, frontend: Frontend) -> Written | None:
        return self._wanted.written(frontend, tokens_in(self._left.get(frontend, NOTHING)))

    def _before(self, frontend: Frontend) -> frozenset[Element]:
        """Made again from what they were made of: the elements of a large cluster would take 120 MB."""
        if frontend in self._written:
            return frozenset(elements_of(frontend, *self._written[frontend]))
        return self._left.get(frontend, NOTHING)

    def done(self, changes: Iterable[Change]) -> None:
        """Note that these were written."""
        for change in changes:
            if change.frontend is None:
                self._addresses = self._addresses - change.before | change.after
                for element in change.before | change.after:
                    self._moved.pop(element, None)
            else:
                self._written_now(change.frontend)

    def _written_now(self, frontend: Frontend) -> None:
        after = self._after(frontend)
        self._left.pop(frontend, None)
        self._written.pop(frontend, None)
        self._behind.discard(frontend)
        self.aside.pop(frontend, None)
        if after:
            self._written[frontend] = after
