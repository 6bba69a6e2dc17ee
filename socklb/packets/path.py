"""The packet path beside the sockets: it is served after them, and what fails here stops nothing.

    path = PacketPath(config)
    path.sync(frontends, addresses)     # once everything was read
    path.apply(difference)
    path.look()                         # every 10 seconds
    path.close()

A failure is one line in the log and a problem in `socklb status` until it is over. Every change tries anew, and so does
a look at the table, which also makes it whole again if somebody removed it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping

from socklb.api.source import Problem
from socklb.config import Config
from socklb.errors import SocklbError, reason
from socklb.packets.packets import Packets
from socklb.report import PacketFacts
from socklb.serving import Addresses, Difference, Frontend, Serving

log = logging.getLogger(__name__)


class PacketPath:
    """See the module. With `packet_path = false` in the configuration it does nothing."""

    def __init__(self, config: Config) -> None:
        """Load nftables; the node's rules are not touched yet. Without libnftables sockets alone are served."""
        self._packets: Packets | None = None
        self._failure = ""
        self._since = time.time()  # since when it fails, or does not
        self._enabled = config.packet_path
        if config.packet_path:
            try:
                self._packets = Packets(config.pod_cidrs, config.native_cidrs)
            except SocklbError as error:
                self._fail(error)

    @property
    def problems(self) -> list[Problem]:
        """What is wrong at present."""
        texts = [self._failure, self._packets.problem if self._packets else ""]
        return [Problem("", 0, "", f"packet path: {text}") for text in texts if text]

    def sync(self, frontends: Mapping[Frontend, Serving], addresses: Addresses) -> None:
        """Serve this and nothing else, from now on."""
        self._try(lambda packets: packets.sync(frontends, addresses))

    def refuse_in(self, service_cidrs: Iterable[str]) -> None:
        """Refuse what is sent into these networks and is no Service's."""
        self._try(lambda packets: packets.refuse_in(service_cidrs))

    def apply(self, difference: Difference) -> None:
        """Bring a difference into the table."""
        self._try(lambda packets: packets.apply(difference))

    def look(self) -> None:
        """Look at the table, and make it whole again if somebody removed it."""
        self._try(lambda packets: packets.repair())

    def close(self) -> None:
        """Let go of nftables; the table goes on serving."""
        if self._packets:
            self._packets.close()

    @property
    def facts(self) -> PacketFacts:
        """How the packet path is; nftables is asked."""
        if not self._enabled or self._packets is None:
            return PacketFacts(self._enabled, False, False, self._failure, self._since)
        try:
            there, whole = self._packets.seen()
        except SocklbError as error:
            return PacketFacts(self._enabled, None, None, str(error), self._since)
        return PacketFacts(self._enabled, there, whole, self._failure, self._since)

    def _try(self, work: Callable[[Packets], object]) -> None:
        if self._packets is None:
            return
        try:
            work(self._packets)
        except Exception as error:  # noqa: BLE001 - sockets are served all the same, whatever it is
            self._fail(error)
        else:
            if self._failure:
                log.info("packet path: it works again")
                self._since = time.time()
            self._failure = ""

    def _fail(self, error: Exception) -> None:
        text = reason(error)
        if text != self._failure:
            log.error("packet path: %s", text)
        if not self._failure:
            self._since = time.time()
        self._failure = text
