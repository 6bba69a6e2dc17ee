"""One packet path takes over from the other, once it serves everything.

    takeover = Takeover(config, pins)
    takeover.look(whole=…)      # every few seconds, in a thread; True once nothing of the other is left

From eBPF to nftables the programs go at once. From nftables to eBPF the table stays until no connection that it
translated is left, for an hour at most: it would end them. New ones are translated at the uplinks, before it.
"""

from __future__ import annotations

import logging
import shutil
import socket
import time

from socklb.config import Config
from socklb.datapath.pins import Pins
from socklb.netlink import DUMP, attribute, attributes
from socklb.packets import ruleset
from socklb.packets.flows import GET
from socklb.packets.netlink import exchange
from socklb.packets.packets import Packets
from socklb.tc import links

DRAIN = 3600.0  # seconds
STATUS, STATUS_MASK = 3, 26  # CTA_STATUS, CTA_STATUS_MASK: the kernel picks them out since 5.15
TRANSLATED = 1 << 5  # IPS_DST_NAT

log = logging.getLogger(__name__)


class Takeover:
    """See the module."""

    def __init__(self, config: Config, pins: Pins) -> None:
        self._to, self._pins = config.packets_by, pins
        self._since: float | None = None  # when this one first served everything (monotonic)
        self._told = False

    def look(self, *, whole: bool) -> bool:
        """Remove what the other one left, if its time has come; say whether nothing is left of it.

        Raises:
            SocklbError: nftables or the kernel refused.
            OSError: netlink refused.
        """
        if not whole and self._since is None:
            return False
        self._since = self._since or time.monotonic()
        return self._leave_nftables(self._since) if self._to == "ebpf" else self._leave_ebpf()

    def _leave_nftables(self, since: float) -> bool:
        if ruleset.read() is None:
            return True
        if time.monotonic() - since < DRAIN and translated():
            if not self._told:
                log.info("packet path: table inet socklb stays until the connections that it translates are closed")
            self._told = True
            return False
        with Packets() as packets:
            packets.remove()
        log.info("packet path: table inet socklb is removed")
        return True

    def _leave_ebpf(self) -> bool:
        if not self._pins.tc.is_dir():
            return True
        count = links.remove(self._pins.tc_links)
        shutil.rmtree(self._pins.tc, ignore_errors=True)
        if count:
            log.info("packet path: %d programs at devices are removed", count)
        return True


def translated() -> bool:
    """Say whether this network namespace has a connection with another destination than was asked for.

    Raises:
        OSError: netlink refused.
    """
    asked = b"".join(attribute(kind, TRANSLATED.to_bytes(4, "big")) for kind in (STATUS, STATUS_MASK))
    return any(
        int.from_bytes(attributes(data).get(STATUS, b""), "big") & TRANSLATED
        for family in (socket.AF_INET, socket.AF_INET6)
        for _, data in exchange(GET, DUMP, family, asked)
    )
