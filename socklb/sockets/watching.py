"""Watch the decisions of the hooks, through the agent, a moment after they are made.

    with Watching(Path("/run/socklb/agent.sock")) as watching:
        watching.began                      # since when there has been a watcher
        for decisions, lost in watching:    # lost: how many were lost before these
            …

It ends when nobody reads our output any more.
"""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from socklb.datapath.decisions import DECISION, FRAME, Decision, unpack
from socklb.errors import SocklbError

PATIENCE = 10.0  # seconds for the agent to load programs
NEXT = "restart it if it is of another version than this command"


class Watching:
    """See the module. `kept`: start with the decisions that were sent to others before.

    `began`: since when decisions have been recorded, in nanoseconds since 1970, as the times of decisions are here. The
    agent says how the clocks differ, so a decision has the same time for every watcher.
    """

    def __init__(self, agent: Path, *, kept: bool = False) -> None:
        """Connect to the agent.

        Raises:
            SocklbError: no agent runs, or it cannot make the hooks report.
        """
        self._socket = socket.socket(socket.AF_UNIX)
        self._read = bytearray()
        try:
            header = self._begin(agent, "kept" if kept else "")
        except BaseException:
            self._socket.close()
            raise
        self._ahead: int = header["wall_clock_ahead"]
        self.began: int = header["began"] + self._ahead

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def __iter__(self) -> Iterator[tuple[Iterator[Decision], int]]:
        """Yield decisions as they come, as long as somebody reads our standard output.

        Raises:
            SocklbError: the agent ended.
        """
        while _is_read(self._socket):
            self._receive()
            while (frame := self._frame()) is not None:
                yield frame

    def _begin(self, agent: Path, which: str) -> dict[str, Any]:
        self._socket.settimeout(PATIENCE)
        try:
            self._socket.connect(str(agent))
            self._socket.sendall(f"monitor {which}\n".encode())
            while b"\n" not in self._read and (some := self._socket.recv(1 << 16)):
                self._read += some
        except (FileNotFoundError, ConnectionError) as error:
            hint = "start the agent: it alone can have the hooks tell"
            raise SocklbError("no agent runs", value=str(agent), hint=hint) from error
        except TimeoutError as error:
            raise SocklbError(f"the agent did not answer in {PATIENCE:.0f} s", value=str(agent)) from error
        line, _, self._read = self._read.partition(b"\n")
        header: dict[str, Any] = json.loads(line or b'{"error": "it ended"}')
        if "error" in header:
            raise SocklbError(f"the agent gives no answer: {header['error']}", value=str(agent), hint=NEXT)
        if header["size"] != DECISION.size:
            raise SocklbError("the agent tells something else than this command knows", value=str(agent), hint=NEXT)
        return header

    def _receive(self) -> None:
        try:
            some = self._socket.recv(1 << 18)
        except ConnectionError:
            some = b""
        if not some:
            raise SocklbError("the agent ended, and with it the watch", hint="watch again once it runs: socklb status")
        self._read += some

    def _frame(self) -> tuple[Iterator[Decision], int] | None:
        if len(self._read) < FRAME.size:
            return None
        count, lost = FRAME.unpack_from(self._read)
        end = FRAME.size + count * DECISION.size
        if len(self._read) < end:
            return None
        raw = bytes(self._read[FRAME.size : end])
        del self._read[:end]
        return (decision._replace(time=decision.time + self._ahead) for decision in unpack(raw)), lost


def _is_read(told: socket.socket) -> bool:
    """Wait until there is something; return whether anybody reads our standard output."""
    poll = select.poll()
    poll.register(told, select.POLLIN)
    poll.register(1, 0)  # errors are always reported
    return 1 not in {descriptor for descriptor, _ in poll.poll()}
