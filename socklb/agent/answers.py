"""What the agent answers on its Unix socket: one line asks, one JSON document answers, or a stream for as
long as the client stays.

    answers = Answers(path, {"status": lambda _: report, …}, {"monitor": monitors.tell})
    supervisor.keep("answers", answers.serve)

A client that says nothing is let go after SILENCE, one that does not read too; nobody waits for a client when the agent
stops. The agent is the node's only one, so a socket that another one left may go.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

SILENCE = 5.0  # seconds

Respond = Callable[[str], Awaitable[object]]
Tell = Callable[[str, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

log = logging.getLogger(__name__)


class Answers:
    """See the module. `respond`, `tell`: by the first word of a question what answers the rest of it, or streams."""

    def __init__(self, path: Path, respond: Mapping[str, Respond], tell: Mapping[str, Tell]) -> None:
        self._path, self._respond, self._tell = path, respond, tell
        self._clients: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Answer until cancelled, or until somebody takes the socket away."""
        _make_way(self._path)
        server = await asyncio.start_unix_server(self._take, self._path)
        self._path.chmod(0o600)  # whatever the umask is: a pod's may be none
        try:
            identity = self._path.stat().st_ino
            while self._path.stat().st_ino == identity:  # noqa: ASYNC110 - nobody tells when a file goes
                await asyncio.sleep(1)
        finally:
            # Not `async with server`: from Python 3.12.1 on that waits for every client.
            server.close()
            for client in self._clients:
                client.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)
            _make_way(self._path)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hold on to the task: asyncio itself does not, and we must be able to end it."""
        task = asyncio.create_task(self._answer(reader, writer))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The client may go at any moment, say nothing, or say more than a line may have (ValueError).
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            try:
                writer.transport.set_write_buffer_limits(0)  # so that draining waits until all is written
                line = await asyncio.wait_for(reader.readline(), SILENCE)
                word, _, rest = line.decode(errors="replace").strip().partition(" ")
                if word in self._tell:
                    await self._tell[word](rest, reader, writer)
                    return
                writer.write(msgspec.json.encode(await self._document(word, rest)))
                await asyncio.wait_for(writer.drain(), SILENCE)
                writer.close()
            finally:
                writer.transport.abort()  # nothing, once it is closed

    async def _document(self, word: str, rest: str) -> object:
        respond = self._respond.get(word)
        if respond is None:
            return {"error": f"{word!r} is not one of {', '.join((*self._respond, *self._tell))}"}
        try:
            return await respond(rest)
        except Exception as error:
            log.exception("no answer to %r", word)
            return {"error": f"the agent's log says why: {type(error).__name__}"}


def _make_way(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
