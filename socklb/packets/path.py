"""The packet path beside the sockets: it is served after them, and what fails here stops nothing.

    path = PacketPath(config)
    async with path.kept_whole():
        path.sync(frontends, addresses)     # once everything was read
        path.apply(difference)

A failure is one line in the log and a problem in `socklb status` until it is over. Every change tries anew, and so does
a look at the table every 10 seconds, which also makes it whole again if somebody removed it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

from socklb.api.source import Problem
from socklb.config import Config
from socklb.errors import SocklbError
from socklb.packets.packets import Packets
from socklb.serving import Addresses, Difference, Frontend, Serving

EVERY = 10.0  # seconds

log = logging.getLogger(__name__)


class PacketPath:
    """See the module. With `packet_path = false` in the configuration it does nothing."""

    def __init__(self, config: Config) -> None:
        """Load nftables; the node's rules are not touched yet. Without libnftables sockets alone are served."""
        self._packets: Packets | None = None
        self._failure = ""
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

    @asynccontextmanager
    async def kept_whole(self) -> AsyncGenerator[None]:
        """Look after the table while the block runs; afterwards it goes on serving."""
        looking = asyncio.create_task(self._look_regularly())
        try:
            yield
        finally:
            looking.cancel()
            if self._packets:
                self._packets.close()

    async def _look_regularly(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            self._try(lambda packets: packets.repair())

    def _try(self, work: Callable[[Packets], object]) -> None:
        if self._packets is None:
            return
        try:
            work(self._packets)
        except SocklbError as error:
            self._fail(error)
        else:
            self._failure = ""

    def _fail(self, error: SocklbError) -> None:
        if str(error) != self._failure:
            log.error("packet path: %s", error)
        self._failure = str(error)
