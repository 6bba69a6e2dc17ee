"""Asking the API server from one thread, in a way that another thread can end.

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
    """See the module. One question at a time."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.stopped = threading.Event()
        self._response: urllib3.BaseHTTPResponse | None = None

    def stop(self) -> None:
        """End whatever is asked, and say so by `stopped`."""
        self.stopped.set()
        hang_up(self._response)

    @contextmanager
    def ask(self, path: str, query: Mapping[str, str], silence: float, accept: str = JSON) -> Generator[Answer]:
        """Give the answer, to be read within the block.

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
        """Read the answer.

        Raises:
            ApiError: it broke off.
        """
        try:
            # What is not sent in chunks would be read until CHUNK bytes are there: an event would wait for others.
            # A large list comes compressed, and a stream is not unpacked unless it is said here.
            if answer.response.chunked:
                yield from answer.response.stream(CHUNK, decode_content=True)
            else:
                yield from iter(lambda: answer.response.read1(CHUNK, decode_content=True), b"")
        except (HTTPError, OSError, ValueError) as error:  # ValueError: read of closed file
            self.connection.failed(answer.server)
            raise unreachable(answer.server, error) from error

    def body(self, answer: Answer) -> bytearray:
        """Read the answer whole.

        Raises:
            ApiError: it broke off.
        """
        body = bytearray()  # a large list is not held twice, as joining its parts would
        for chunk in self.chunks(answer):
            body += chunk
        return body


def lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the lines of a stream; what is not ended by a line feed is not given."""
    rest = bytearray()
    for chunk in chunks:
        rest += chunk
        *whole, tail = rest.split(b"\n")
        yield from map(bytes, filter(None, whole))
        rest = tail


def allow_silence(answer: Answer, seconds: float) -> None:
    """From now on let reading fail after that long without a word."""
    if (sock := _socket_of(answer.response)) is not None:
        sock.settimeout(seconds)


def hang_up(response: urllib3.BaseHTTPResponse | None) -> None:
    """End a response that another thread may be reading: a close alone would wait for that thread."""
    if (sock := _socket_of(response)) is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


def _socket_of(response: urllib3.BaseHTTPResponse | None) -> socket.socket | None:
    """Return what a response is read from, None once it is read to its end.

    http.client leaves the socket with the connection where that may be used again, and else with the response alone.
    """
    connection = getattr(response, "connection", None) or getattr(response, "_connection", None)
    own = getattr(getattr(getattr(getattr(response, "_fp", None), "fp", None), "raw", None), "_sock", None)
    sock = getattr(connection, "sock", None) or own
    return sock if isinstance(sock, socket.socket) else None
