"""Let the tables grow while they serve, up to what the configuration allows.

    room = Room(datapath)
    room.make()             # after each change: does nothing if everything fits

It is the same growth as at a start with a larger configuration (docs/decisions/0009): clients do not notice. A refusal
by the kernel is reported, and growth is tried again after a minute; until then the tables stay full.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from socklb.datapath.libbpf import BpfError
from socklb.datapath.node_datapath import NodeDatapath
from socklb.datapath.sizes import Sizes

AGAIN = 60.0  # seconds after a refusal

log = logging.getLogger(__name__)


class Room:
    """See the module. `refusal` says why the tables could not grow; empty if they could."""

    def __init__(self, datapath: NodeDatapath, grown: Callable[[], None] = lambda: None) -> None:
        """Start without a refusal. `grown` is called when larger tables have replaced the previous ones."""
        self._datapath, self._grown = datapath, grown
        self._again = 0.0
        self.refusal = ""

    def make(self) -> None:
        """Grow the tables if something waits for room in them and they may grow."""
        datapath = self._datapath
        wanted = datapath.sizes.enough_for(datapath.tables.needed(), datapath.most)
        if wanted == datapath.sizes:
            self.refusal = ""
        elif time.monotonic() >= self._again:
            self._grow(wanted)

    def _grow(self, wanted: Sizes) -> None:
        began = time.monotonic()
        try:
            self._datapath.grow(wanted)
        except (BpfError, OSError) as error:
            self._again = time.monotonic() + AGAIN
            larger = f"{wanted.frontends} frontends and {wanted.backends} backends"
            self.refusal = f"the tables cannot grow to {larger}: {error}"
            log.warning("%s", self.refusal)
        else:
            self.refusal = ""
            self._grown()
            log.info("that took %.2f s, in which what was there was served", time.monotonic() - began)
