"""Replace the nftables table of an earlier version with the eBPF packet path, once that serves everything.

    takeover = Takeover()
    takeover.look(whole=…)      # every few seconds, in a thread; True once nothing of the table is left

The table stays until no connection that it translated is left, but for an hour at most: removing it would end them. New
connections are translated at the uplinks, before the table.
"""

from __future__ import annotations

import logging
import time

from socklb import netfilter

DRAIN = 3600.0  # seconds
TABLE = ("inet", "socklb")

log = logging.getLogger(__name__)


class Takeover:
    """See the module."""

    def __init__(self) -> None:
        self._since: float | None = None  # when everything was first served (monotonic)
        self._told = False

    def look(self, *, whole: bool) -> bool:
        """Remove the table if it is time; return whether nothing is left of it.

        Raises:
            OSError: netlink refused.
        """
        if not whole and self._since is None:
            return False
        self._since = self._since or time.monotonic()
        if TABLE not in netfilter.tables():
            return True
        if time.monotonic() - self._since < DRAIN and netfilter.is_translating():
            if not self._told:
                log.info("packet path: table inet socklb stays until the connections that it translates are closed")
            self._told = True
            return False
        remove_table()
        log.info("packet path: table inet socklb is removed")
        return True


def remove_table() -> bool:
    """Remove the table now; return whether there was one.

    Raises:
        OSError: netlink refused.
    """
    if TABLE not in netfilter.tables():
        return False
    netfilter.delete_table(*TABLE)
    return True
