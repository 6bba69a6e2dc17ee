"""The packet path: what no socket hook sees is served by nftables, one transaction a change.

    packets = Packets(pod_cidrs, native_cidrs)
    packets.apply(difference.for_packets())     # additions only, until everything was read
    packets.sync(frontends, addresses)          # everything; what an earlier agent left and nobody wants is pruned
    packets.apply(difference.for_packets())
    packets.close()                             # the table goes on serving

What fails leaves the table as it was and raises SocklbError; the next call reads the table back and makes it whole.
The balance `least_loaded` is random here: what is live is known of sockets only.
"""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from types import TracebackType
from typing import Self

from socklb.memory import give_back
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
from socklb.packets.forget import Forgetter
from socklb.packets.nft import Nft
from socklb.packets.table import Table
from socklb.packets.wanted import Wanted, Written
from socklb.serving import Addresses, Difference, Frontend, Serving

NOTHING = frozenset[Element]()


class Packets:
    """The packet path of the node whose network namespace this process is in."""

    def __init__(self, pod_cidrs: Sequence[str] = (), native_cidrs: Sequence[str] = ()) -> None:
        """Load nftables; nothing is changed yet.

        Raises:
            SocklbError: there is no libnftables.
        """
        self._fixed = network_elements("pods", pod_cidrs) | network_elements("native", native_cidrs)
        self._service_cidrs: set[Element] = set()
        self._nft = Nft()
        self._table = Table(self._nft)
        self._wanted = Wanted()
        self._known = False  # whether the table is what the fields below say
        self._synced = False
        self._left: dict[Frontend, frozenset[Element]] = {}  # what an earlier agent wrote
        self._written: dict[Frontend, Written] = {}
        self._addresses: set[Element] = set()  # those present in the sets of addresses
        self._forgetter = Forgetter()
        self.written = 0  # elements, since the start

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def sync(self, frontends: Mapping[Frontend, Serving], addresses: Addresses) -> None:
        """Serve this and nothing else.

        Raises:
            SocklbError: nftables refused.
        """
        self._synced = True
        wanted = self._wanted
        self._change(
            Difference(
                frontends,
                frozenset(wanted.frontends.keys() - frontends.keys()),
                addresses.without(wanted.addresses),
                wanted.addresses.without(addresses),
            ),
            everything=True,
        )

    def apply(self, difference: Difference) -> None:
        """Bring a difference into the table.

        Raises:
            SocklbError: nftables refused.
        """
        self._change(difference, everything=self._synced and not self._known)

    def refuse_in(self, service_cidrs: Iterable[str]) -> None:
        """Refuse what is sent into these networks and is no Service's.

        Raises:
            SocklbError: nftables refused.
        """
        before, self._service_cidrs = self._service_cidrs, network_elements("service_cidrs", service_cidrs)
        if self._synced and before != self._service_cidrs:
            self._change(Difference(), everything=True)

    def repair(self) -> bool:
        """Make the table whole again if somebody removed it; say whether that was so.

        Raises:
            SocklbError: nftables refused.
        """
        if not self._synced or (self._known and self._table.whole()):
            return False
        self._known = False
        self._change(Difference(), everything=True)
        return True

    def seen(self) -> tuple[bool, bool]:
        """Ask nftables whether our table is there, and whether it is whole.

        Raises:
            SocklbError: it cannot be asked.
        """
        there = self._table.there()
        return there, there and self._table.whole()

    @property
    def problem(self) -> str:
        """What could not be done besides the table; empty if nothing."""
        return self._forgetter.problem

    def close(self) -> None:
        """Let go of nftables; the table stays and goes on serving."""
        self._forgetter.close()
        self._nft.close()

    def remove(self) -> bool:
        """Remove the table; say whether there was one.

        Raises:
            SocklbError: nftables refused.
        """
        return self._table.remove()

    def _change(self, difference: Difference, *, everything: bool) -> None:
        known, self._known = self._known, False
        if not known:
            self._read_back()
        touched = self._wanted.update(difference)
        if everything or not known:
            touched |= self._wanted.everything()
        if everything:
            touched |= self._left.keys() | self._written.keys()
        if self._table.outdated and not self._synced:
            return  # it goes on serving as it is: half of what it has is no replacement
        gone, new = self._moved_addresses(difference, everything=everything or not known)
        changes = (self._brought(frontend, known) for frontend in touched)
        self.written += self._table.write(chain([Change(gone, NOTHING)], changes, [Change(NOTHING, new)]))
        self._addresses = self._addresses - gone | new if gone or new else self._addresses
        self._known = True
        if not known:
            give_back()  # reading back 120,000 backends takes 530 MB for a moment
        self._forgetter.changed({f: self._wanted.serving(f) for f in touched if f.protocol == socket.IPPROTO_UDP})

    def _read_back(self) -> None:
        present: dict[Frontend, set[Element]] = defaultdict(set)
        self._addresses = set()
        for element in self._table.take_over():
            if element.table[:-1] in ADDRESS_SETS:
                self._addresses.add(element)
            else:
                present[frontend_of(element)].add(element)
        self._left = {frontend: frozenset(elements) for frontend, elements in present.items()}
        self._written = {}

    def _brought(self, frontend: Frontend, known: bool) -> Change:
        """Give what is to change at a frontend; from now on that counts as done, and if it fails all is read back."""
        before, left = self._before(frontend), self._left.pop(frontend, NOTHING)
        self._written.pop(frontend, None)
        after = self._wanted.written(frontend, {} if known else tokens_in(left))
        if after is None:
            return Change(before, NOTHING)
        self._written[frontend] = after
        return Change(before, frozenset(elements_of(frontend, *after)))

    def _before(self, frontend: Frontend) -> frozenset[Element]:
        """Made again from what they were made of: the elements of a large cluster would take 120 MB."""
        if frontend in self._written:
            return frozenset(elements_of(frontend, *self._written[frontend]))
        return self._left.get(frontend, NOTHING)

    def _moved_addresses(self, difference: Difference, *, everything: bool) -> tuple[set[Element], set[Element]]:
        """Give the elements of address sets that go and those that come."""
        if not everything:
            wanted, unwanted = address_elements(difference.add), address_elements(difference.remove)
            return unwanted & self._addresses, wanted - self._addresses
        wanted = address_elements(self._wanted.addresses) | self._fixed | self._service_cidrs
        return self._addresses - wanted if self._synced else set(), wanted - self._addresses
