"""The agent's answers on its Unix socket: each question is one line, each answer one JSON document, or a stream for as
long as the client stays.

    answers = Answers(path, {"status": lambda _: report, …}, {"monitor": monitors.tell})
    supervisor.keep("answers", answers.serve)

A client that sends nothing, or does not read, is disconnected after SILENCE; the agent does not wait for clients when
it stops. It is the only agent of the node, so it may remove a socket that another one left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from socklb.errors import SocklbError, short

SILENCE = 5.0  # seconds

Respond = Callable[[str], Awaitable[object]]
Tell = Callable[[str, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

log = logging.getLogger(__name__)


class Answers:
    """Serve the questions. `respond`, `tell`: by the first word of a question, the function that answers the rest of it
    or streams.
    """

    def __init__(self, path: Path, respond: Mapping[str, Respond], tell: Mapping[str, Tell]) -> None:
        self._path, self._respond, self._tell = path, respond, tell
        self._clients: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Answer until cancelled, or until somebody removes the socket."""
        _make_way(self._path)
        server = await asyncio.start_unix_server(self._take, self._path)
        self._path.chmod(0o600)  # whatever the umask is: in a pod it may be 0
        try:
            identity = self._path.stat().st_ino
            while self._path.stat().st_ino == identity:  # noqa: ASYNC110 - nobody tells when a file goes
                await asyncio.sleep(1)
        finally:
            # Not `async with server`: since Python 3.12.1 that waits for every client.
            server.close()
            for client in self._clients:
                client.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)
            _make_way(self._path)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Keep a reference to the task: asyncio does not, and it must be possible to end it."""
        task = asyncio.create_task(self._answer(reader, writer))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The client may close at any moment, send nothing, or send a line that is too long (ValueError).
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            try:
                writer.transport.set_write_buffer_limits(0)  # so that drain() waits until everything is written
                line = await asyncio.wait_for(reader.readline(), SILENCE)
                word, _, rest = line.decode(errors="replace").strip().partition(" ")
                if word in self._tell:
                    await self._tell[word](rest, reader, writer)
                    return
                writer.write(msgspec.json.encode(await self._document(word, rest)))
                await asyncio.wait_for(writer.drain(), SILENCE)
                writer.close()
            finally:
                writer.transport.abort()  # does nothing if it is closed already

    async def _document(self, word: str, rest: str) -> object:
        respond = self._respond.get(word)
        if respond is None:
            return {"error": f"{short(word)} is not one of {', '.join((*self._respond, *self._tell))}"}
        try:
            return await respond(rest)
        except SocklbError as error:
            return {"error": str(error)}
        except Exception as error:
            log.exception("no answer to %r", word)
            return {"error": f"the agent's log says why: {type(error).__name__}"}


def _make_way(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
