"""The present backends of a Service address, from the kernel's tables, which are read while their one writer works.

with closing(Served(maps)) as served:
    served.backends(asked, socket.IPPROTO_UDP)      # empty: none, or it is no Service's
    served.frontend(asked, socket.IPPROTO_TCP)      # the frontend that applies; None: none
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

from socklb.datapath import dump, layout
from socklb.datapath.maps import HashTable, RowTable
from socklb.model import ANY4, ANY6, Backend, Frontend, is_ipv4, is_loopback


class Served:
    """See the module. Results are remembered: use one per pass."""

    def __init__(self, maps: Path) -> None:
        """Open the pinned maps."""
        with ExitStack() as opened:
            self._frontends = opened.enter_context(
                closing(HashTable(maps, "frontends", layout.FRONTEND_KEY.size, layout.ROW_INDEX.size))
            )
            self._rows = opened.enter_context(closing(RowTable(maps, "frontend_rows", layout.FRONTEND_ROW.size)))
            self._backends = opened.enter_context(closing(RowTable(maps, "backends", layout.BACKEND_ROW.size)))
            self._nodes = opened.enter_context(closing(HashTable(maps, "node_addrs", 16, 1)))
            self._opened = opened.pop_all()
        self._known: dict[Frontend, frozenset[Backend]] = {}

    def close(self) -> None:
        """Close the maps."""
        self._opened.close()

    def forget(self) -> None:
        """Forget results, so that the tables are read again."""
        self._known.clear()

    def backends(self, asked: Backend, protocol: int) -> frozenset[Backend]:
        """Return the backends of an address and port: those of its own frontend, else of the NodePort."""
        frontend = Frontend(asked.address, asked.port, protocol)
        if frontend not in self._known:
            self._known[frontend] = self._read(frontend)
        return self._known[frontend]

    def frontend(self, asked: Backend, protocol: int) -> Frontend | None:
        """Return the frontend that applies to an address and port: its own, else the NodePort."""
        found = self._find(Frontend(asked.address, asked.port, protocol))
        return found and found[0]

    def _read(self, frontend: Frontend) -> frozenset[Backend]:
        found = self._find(frontend)
        if found is None:
            return frozenset()
        by, index = found
        serving = dump.read_serving(self._rows, self._backends, index, layout.pack_frontend(by))
        return frozenset(serving.backends) if serving else frozenset()

    def _find(self, frontend: Frontend) -> tuple[Frontend, int] | None:
        any_address = ANY4 if is_ipv4(frontend.address) else ANY6
        for by in (frontend, frontend._replace(address=any_address)):
            if by is not frontend and not self._is_nodes(frontend.address):
                return None
            if row := self._frontends.find(layout.pack_frontend(by)):
                return by, layout.ROW_INDEX.unpack(row)[0]
        return None

    def _is_nodes(self, address: bytes) -> bool:
        return is_loopback(address) or self._nodes.find(address) is not None
