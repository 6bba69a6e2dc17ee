"""Requests to the API server from one thread, which another thread can end.

asker = Asker(connection)
with asker.ask("/api/v1/services", {"watch": "true"}, silence=90) as answer:
    for line in lines(asker.chunks(answer)): …
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager

import urllib3
from urllib3.exceptions import HTTPError

from socklb.api.connection import JSON, Answer, Connection
from socklb.api.failures import unreachable

CHUNK = 1 << 16


class Asker:
    """See the module. One request at a time."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.stopped = threading.Event()
        self._response: urllib3.BaseHTTPResponse | None = None

    def stop(self) -> None:
        """End the request, and set `stopped`."""
        self.stopped.set()
        hang_up(self._response)

    @contextmanager
    def ask(self, path: str, query: Mapping[str, str], silence: float, accept: str = JSON) -> Generator[Answer]:
        """Yield the answer, to be read within the block.

        Raises:
            ApiError: see Connection.get.
        """
        answer = self.connection.get(path, query, silence, accept)
        self._response = answer.response
        if self.stopped.is_set():
            hang_up(self._response)
        with closing(answer.response):
            yield answer

    def chunks(self, answer: Answer) -> Iterator[bytes]:
        """Yield the parts of the answer.

        Raises:
            ApiError: it broke off.
        """
        try:
            # Without chunked encoding a read would wait for CHUNK bytes: an event would wait for the next ones.
            # A large list is compressed, and a stream is decompressed only on request.
            if answer.response.chunked:
                yield from answer.response.stream(CHUNK, decode_content=True)
            else:
                yield from iter(lambda: answer.response.read1(CHUNK, decode_content=True), b"")
        except (HTTPError, OSError, ValueError) as error:  # ValueError: read of closed file
            self.connection.failed(answer.server)
            raise unreachable(answer.server, error) from error

    def body(self, answer: Answer) -> bytearray:
        """Return the whole answer.

        Raises:
            ApiError: it broke off.
        """
        body = bytearray()  # joining parts would hold a large list twice
        for chunk in self.chunks(answer):
            body += chunk
        return body


def lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the lines of a stream; a last line without a line feed is dropped."""
    rest = bytearray()
    for chunk in chunks:
        rest += chunk
        *whole, tail = rest.split(b"\n")
        yield from map(bytes, filter(None, whole))
        rest = tail


def allow_silence(answer: Answer, seconds: float) -> None:
    """From now on, let a read fail after this many seconds without data."""
    if (sock := _socket_of(answer.response)) is not None:
        sock.settimeout(seconds)


def hang_up(response: urllib3.BaseHTTPResponse | None) -> None:
    """End a response that another thread may be reading: close() alone would wait for that thread."""
    if (sock := _socket_of(response)) is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


def _socket_of(response: urllib3.BaseHTTPResponse | None) -> socket.socket | None:
    """Return the socket that a response is read from, None if it has been read to its end.

    http.client keeps the socket in the connection if that may be used again, otherwise in the response alone.
    """
    connection = getattr(response, "connection", None) or getattr(response, "_connection", None)
    own = getattr(getattr(getattr(getattr(response, "_fp", None), "fp", None), "raw", None), "_sock", None)
    sock = getattr(connection, "sock", None) or own
    return sock if isinstance(sock, socket.socket) else None
