"""The packet path: what no socket hook sees is served by nftables, one transaction a change.

    packets = Packets(pod_cidrs, native_cidrs)
    packets.apply(difference)     # additions only, until everything was read
    packets.sync(frontends, addresses)          # everything; what an earlier agent left and nobody wants is pruned
    packets.apply(difference)
    packets.close()                             # the table goes on serving

A frontend that nftables refuses is set aside, named in `problems`, and holds up no other; `repair()`, to be called now
and then, tries it again, and makes the table whole if somebody damaged it. Any other failure leaves the rest of
a change for the next call. The balance `least_loaded` is random here: what is live is known of sockets only.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from socklb.errors import SocklbError
from socklb.memory import give_back
from socklb.packets.commands import Change, groups
from socklb.packets.forget import Forgetter
from socklb.packets.ledger import Ledger
from socklb.packets.nft import Nft, RefusedError
from socklb.packets.table import Table
from socklb.serving import Addresses, Difference, Frontend, Serving, frontend_text

IN_A_ROW = 16  # frontends refused without one that is taken: it is not they that are wrong
NAMED = 10  # frontends set aside, one by one

log = logging.getLogger(__name__)


class DamagedError(SocklbError):
    """Somebody else changed the table."""


class Packets:
    """The packet path of the node whose network namespace its thread is in."""

    def __init__(
        self,
        pod_cidrs: Sequence[str] = (),
        native_cidrs: Sequence[str] = (),
        on_damage: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Load nftables; nothing is changed yet. `on_damage` is told what somebody else did, before it is mended.

        Raises:
            SocklbError: there is no libnftables.
        """
        self._on_damage = on_damage
        self._nft = Nft()
        self._table = Table(self._nft)
        self._ledger = Ledger(pod_cidrs, native_cidrs)
        self._known = False  # whether the table is what the ledger says
        self._refused = 0  # in a row
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
            OSError: netlink refused.
        """
        self._ledger.want_all(frontends, addresses)
        self._bring()

    def apply(self, difference: Difference) -> None:
        """Bring a difference into the table.

        Raises:
            SocklbError: nftables refused.
            OSError: netlink refused.
        """
        self._ledger.want(difference)
        self._bring()

    def refuse_in(self, service_cidrs: Iterable[str]) -> None:
        """Refuse what is sent into these networks and is no Service's.

        Raises:
            SocklbError: nftables refused.
            OSError: netlink refused.
        """
        if self._ledger.want_networks(service_cidrs) and self._ledger.synced:
            self._bring()

    def repair(self) -> bool:
        """Make the table whole if somebody damaged it, and bring what could not be brought; say whether it was damaged.

        Raises:
            SocklbError: nftables refused.
            OSError: netlink refused.
        """
        if not self._ledger.synced:
            return False
        damage = self._table.damage() if self._known else ""
        if damage:
            self._damaged(damage)
        if self.lags or self._ledger.aside:
            self._bring(again=True)
        return bool(damage)

    def _damaged(self, damage: str) -> None:
        self._known = False
        self._on_damage(damage)

    @property
    def lags(self) -> bool:
        """Whether the table is not what it should be, but for what is set aside."""
        return not self._known or self._ledger.lags

    @property
    def synced(self) -> bool:
        """Whether everything that is to be served is known."""
        return self._ledger.synced

    @property
    def served(self) -> bool:
        """Whether everything was written, but for what is set aside."""
        return self._ledger.synced and not self.lags

    @property
    def untouched(self) -> bool:
        """Whether nobody changed any rules since the table was last known to be whole. Any thread may ask.

        Raises:
            OSError: netlink refused.
        """
        return self._known and self._table.untouched

    @property
    def aside(self) -> int:
        """How many frontends nftables refuses."""
        return len(self._ledger.aside)

    @property
    def problems(self) -> list[str]:
        """What could not be done besides."""
        aside = [*self._ledger.aside.items()]
        texts = [f"{frontend_text(frontend)} is not served: {why}" for frontend, why in aside[:NAMED]]
        more = [f"{len(aside) - NAMED} more frontends are not served"] if len(aside) > NAMED else []
        return [*texts, *more, *([self._forgetter.problem] if self._forgetter.problem else [])]

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

    def _bring(self, *, again: bool = False) -> None:
        """Write what is behind, `again` also what was set aside."""
        try:
            self._bring_once(again=again)
        except DamagedError as damage:
            self._damaged(str(damage))
            self._bring_once(again=again)

    def _bring_once(self, *, again: bool) -> None:
        known, self._refused = self._known, 0
        if not known:
            self._ledger.read_back(self._table.take_over())
            self._known = True
        if self._table.outdated and not self._ledger.synced:
            return  # it goes on serving as it is: half of what it has is no replacement
        touched = self._ledger.fresh
        changes = self._ledger.changes(touched, again=again)
        if self._table.outdated:
            self._replace(list(changes))
        else:
            self._write_all(changes)
        if not known:
            give_back()  # reading back 120,000 backends takes much for a moment
        udp = (frontend for frontend in touched if frontend.protocol == socket.IPPROTO_UDP)
        self._forgetter.changed(self._ledger.serving(udp))

    def _replace(self, changes: Sequence[Change]) -> None:
        """Replace a table of another version, in one transaction if nothing in it is refused."""
        try:
            self.written += self._table.replace(changes)
        except RefusedError:
            self._table.replace()
            self._write_all(changes)
        else:
            self._ledger.done(changes)

    def _write_all(self, changes: Iterable[Change]) -> None:
        for group in groups(changes):
            self._write(group)

    def _write(self, group: Sequence[Change]) -> None:
        """Write a group; of one that is refused its halves, down to the frontend that is to blame."""
        try:
            self.written += self._table.write(group)
        except RefusedError as error:
            if damage := self._table.damage():
                raise DamagedError(damage) from error
            if len(group) == 1:
                self._set_aside(group[0].frontend, error)
                return
            half = len(group) // 2
            self._write(group[:half])
            self._write(group[half:])
        else:
            self._refused = 0
            self._ledger.done(group)

    def _set_aside(self, frontend: Frontend | None, error: RefusedError) -> None:
        self._refused += 1
        if frontend is None or self._refused > IN_A_ROW:
            raise error
        if frontend not in self._ledger.aside:
            log.error("packet path: %s is not served: %s", frontend_text(frontend), error)
        self._ledger.aside[frontend] = str(error)
