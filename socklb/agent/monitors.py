"""The clients that watch decisions of the hooks (`socklb monitor`). While there is one, the hooks run programs that
report them.

    monitors = Monitors(datapath)
    Answers(path, …, {"monitor": monitors.tell})

A watch lasts as long as its connection: when the last one ends, however its process ends, the ordinary programs run
again. The agent sends every decision to every client; filtering is done in the client's process. A client that does not
read is told how many decisions it missed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Iterator
from itertools import islice

from socklb.datapath.decisions import DECISION, FRAME
from socklb.datapath.node_datapath import NodeDatapath
from socklb.errors import SocklbError, reason

EVERY = 0.02  # seconds between two reads of the ring buffer
KEPT = 10_000  # decisions kept for clients that connect later
UNREAD = 1 << 22  # bytes that may wait for a client that does not read

log = logging.getLogger(__name__)


class Watcher:
    """One client, and the data that waits for it."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._lost = 0

    def tell(self, raw: bytes, lost: int) -> None:
        """Send decisions, unless too many wait already; nothing is sent while nothing happens."""
        self._lost += lost
        if raw and self._writer.transport.get_write_buffer_size() > UNREAD:
            self._lost += len(raw) // DECISION.size
            raw = b""
        elif raw or self._lost:
            self._writer.write(FRAME.pack(len(raw) // DECISION.size, self._lost) + raw)
            self._lost = 0


class Monitors:
    """See the module."""

    def __init__(self, datapath: NodeDatapath) -> None:
        """Nobody watches yet."""
        self._datapath = datapath
        self._watchers: set[Watcher] = set()
        self._kept: deque[bytes] = deque(maxlen=KEPT)
        self._began = 0  # monotonic ns
        self._ahead = 0  # by how much the wall clock was ahead of that at the beginning, ns

    async def tell(self, which: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send decisions to a client until it disconnects. `which`: "kept", if it also wants those that were sent
        before.
        """
        watcher = Watcher(writer)
        try:
            writer.write(json.dumps(self._begin(watcher)).encode() + b"\n")
        except (SocklbError, OSError) as error:
            writer.write(json.dumps({"error": reason(error)}).encode() + b"\n")
            await writer.drain()
            return
        gone = asyncio.ensure_future(reader.read())
        try:
            if which == "kept":
                watcher.tell(b"".join(self._kept), 0)
            while not gone.done():
                self._share()
                await asyncio.wait({gone}, timeout=EVERY)
        finally:
            gone.cancel()
            self._end(watcher)

    def _begin(self, watcher: Watcher) -> dict[str, int]:
        if not self._watchers:
            self._datapath.observe()
            self._kept.clear()
            self._began = time.monotonic_ns()
            self._ahead = time.time_ns() - self._began
            log.info("somebody watches what the hooks decide: they run programs that tell")
        self._watchers.add(watcher)
        return {"began": self._began, "wall_clock_ahead": self._ahead, "size": DECISION.size}

    def _end(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)
        if not self._watchers and self._began:
            self._began = 0
            try:
                self._datapath.unobserve()
            except (SocklbError, OSError) as error:
                log.warning(
                    "nobody watches any more, but programs that tell run until the next look: %s", reason(error)
                )
            else:
                log.info("nobody watches any more: the hooks run the programs of before")

    def _share(self) -> None:
        """Read the reported decisions and send them to every client."""
        raw, lost = self._datapath.decisions()
        self._kept.extend(islice(_each(raw), max(0, len(raw) // DECISION.size - KEPT), None))
        for watcher in self._watchers:
            watcher.tell(raw, lost)


def _each(raw: bytes) -> Iterator[bytes]:
    return (raw[at : at + DECISION.size] for at in range(0, len(raw), DECISION.size))
