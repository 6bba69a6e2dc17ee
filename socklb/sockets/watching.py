"""What the agent tells while we watch: every decision of the hooks, a moment after it was made.

    with Watching(Path("/run/socklb/agent.sock")) as watching:
        watching.began                      # since when anybody watches
        for decisions, lost in watching:    # lost: how many could not be told before these
            …

It ends when nobody reads what we write any more.
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
    """See the module. `kept`: what others were told before comes first.

    `began`: since when it is known what is decided, in nanoseconds since 1970, as the times of decisions are here. The
    agent says how the clocks differ: one decision has one time, whoever watches.
    """

    def __init__(self, agent: Path, *, kept: bool = False) -> None:
        """Begin.

        Raises:
            SocklbError: no agent runs, or it cannot have the hooks tell.
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
        """Yield what is told as it is told, for as long as somebody reads our standard output.

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
    """Wait until there is something; say whether anybody reads our standard output."""
    poll = select.poll()
    poll.register(told, select.POLLIN)
    poll.register(1, 0)  # an error is told whatever is asked
    return 1 not in {descriptor for descriptor, _ in poll.poll()}
