"""What the packet path is still to do. Pure; the newest word about a frontend is the only one that counts.

backlog = Backlog()
backlog.apply(difference)
backlog.bring(packets)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from socklb.serving import Addresses, Difference, Frontend, Serving

if TYPE_CHECKING:
    from socklb.packets.packets import Packets


class Backlog:
    """Differences that came while others were written, as one. It grows with the cluster, not with time."""

    def __init__(self) -> None:
        self.then: list[Callable[[], None]] = []  # to be called when it is done
        self._all: tuple[Mapping[Frontend, Serving], Addresses] | None = None
        self._networks: tuple[str, ...] | None = None
        self._put: dict[Frontend, Serving] = {}
        self._delete: set[Frontend] = set()
        self._add: tuple[set[bytes], ...] = (set(), set(), set())
        self._remove: tuple[set[bytes], ...] = (set(), set(), set())

    def __bool__(self) -> bool:
        return bool(self.then or self._all or self._networks is not None or self._changes)

    @property
    def _changes(self) -> bool:
        return bool(self._put or self._delete or any(self._add) or any(self._remove))

    def sync(self, frontends: Mapping[Frontend, Serving], addresses: Addresses) -> None:
        """Serve this and nothing else."""
        fresh = Backlog()
        fresh.then, fresh._networks, fresh._all = self.then, self._networks, (frontends, addresses)
        self.__dict__.update(fresh.__dict__)

    def refuse_in(self, networks: Iterable[str]) -> None:
        """Refuse what no Service has in these networks."""
        self._networks = tuple(networks)

    def apply(self, difference: Difference) -> None:
        """Add a difference."""
        for frontend in difference.delete:
            self._put.pop(frontend, None)
        self._delete |= difference.delete
        self._put.update(difference.put)
        self._delete -= difference.put.keys()
        for kind, (new, gone) in enumerate(zip(difference.add, difference.remove, strict=True)):
            self._add[kind].difference_update(gone)
            self._remove[kind].update(gone)
            self._remove[kind].difference_update(new)
            self._add[kind].update(new)

    def bring(self, packets: Packets) -> None:
        """Bring all of it into the table."""
        if self._networks is not None:
            packets.refuse_in(self._networks)
        if self._all:
            packets.sync(*self._all)
        if self._changes:
            add, remove = (Addresses(*map(frozenset, parts)) for parts in (self._add, self._remove))
            packets.apply(Difference(self._put, frozenset(self._delete), add, remove))
