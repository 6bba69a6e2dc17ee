"""Small HTTP servers, one per address to listen at, in threads of their own.

    with HttpServer() as server:
        listener = server.listen(ListenAddress("::", 10256), respond)
        server.close(listener)

One thread accepts for all of them; at most MAX_CONNECTIONS others answer. A connection that is older than PATIENCE, or
the oldest one if all threads are in use, is closed, so that clients that send slowly, or nothing, keep nobody out. Each
connection gets one answer. There is no TLS and no request body.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, Self

from socklb.listen_address import ListenAddress

MAX_CONNECTIONS = 32
PAUSE = 1.0  # seconds after an unexpected error
PATIENCE = 5.0  # seconds
BACKLOG = 128

log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """The answer to a client."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = MappingProxyType({})


Respond = Callable[[str, str], Answer]  # takes the path and the header Accept


class Listener(NamedTuple):
    """An address with a listening socket."""

    socket: socket.socket
    address: ListenAddress
    respond: Respond


class HttpServer:
    """See the module."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._connections: dict[socket.socket, float] = {}  # oldest first, with the time of accept
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._accept, name="http", daemon=True)

    @property
    def alive(self) -> bool:
        """Return whether connections are accepted."""
        return self._thread.is_alive()

    def listen(self, address: ListenAddress, respond: Respond) -> Listener:
        """Answer at an address from now on. `::` is every address of the host, IPv4 included; IPv4 alone if there is no
        IPv6.

        Raises:
            OSError: it is in use, or not an address of the host.
        """
        server = _listening(address)
        listener = Listener(server, ListenAddress(*server.getsockname()[:2]), respond)
        self._selector.register(server, selectors.EVENT_READ, listener)  # the waiting thread notices it (epoll)
        return listener

    def close(self, listener: Listener) -> None:
        """Stop listening there. The port is free at once."""
        self._selector.unregister(listener.socket)
        listener.socket.close()

    def _accept(self) -> None:
        while not self._stopping:
            try:
                self._accept_some()
            except Exception:
                with contextlib.suppress(Exception):  # where memory ends, it may not even be told
                    log.exception("the health server failed; it goes on")
                time.sleep(PAUSE)

    def _accept_some(self) -> None:
        for key, _ in self._selector.select(PATIENCE if self._connections else None):
            if isinstance(key.data, Listener):
                self._take(key.data)
        self._cut_off(before=time.monotonic() - PATIENCE)

    def _take(self, listener: Listener) -> None:
        with self._changed:
            while len(self._connections) >= MAX_CONNECTIONS:
                _shut_down(next(iter(self._connections)))
                self._changed.wait(PATIENCE)
        try:
            connection, client = listener.socket.accept()
        except BlockingIOError:
            return  # the client closed it
        except OSError as error:
            if listener.socket.fileno() >= 0:  # otherwise it was closed just now
                log.warning("no connection at %s: %s", listener.address, error)
                time.sleep(0.1)  # without a free descriptor the socket stays ready
            return
        with self._changed:
            self._connections[connection] = time.monotonic()
        try:
            threading.Thread(target=self._serve, args=(connection, client, listener.respond), daemon=True).start()
        except RuntimeError:  # no more threads: otherwise it would keep its place forever
            self._done_with(connection)
            connection.close()
            raise

    def _serve(self, connection: socket.socket, client: Any, respond: Respond) -> None:
        try:
            with connection, contextlib.suppress(OSError):  # the client may close at any moment
                _Handler(connection, client, respond)
                _shut_down(connection)
        finally:
            self._done_with(connection)

    def _done_with(self, connection: socket.socket) -> None:
        with self._changed:
            del self._connections[connection]
            self._changed.notify()

    def _cut_off(self, before: float) -> None:
        with self._changed:
            for connection, since in self._connections.items():
                if since <= before:
                    _shut_down(connection)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every port. A client that is being answered is disconnected."""
        self._stopping = True
        self._waker.send(b"!")
        self._thread.join(2 * PATIENCE)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, Listener):
                self.close(key.data)
        self._cut_off(before=time.monotonic())
        self._selector.close()
        for end in (self._wake, self._waker):
            end.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "socklb", ""
    timeout = PATIENCE  # for one read or write

    def __init__(self, connection: socket.socket, client: Any, respond: Respond) -> None:
        self._respond = respond
        super().__init__(connection, client, None)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Send the answer."""
        self._give(with_body=True)

    def do_HEAD(self) -> None:
        """Send its headers."""
        self._give(with_body=False)

    def _refuse(self) -> None:
        answer = Answer(405, b"GET and HEAD are answered\n", headers={"Allow": "GET, HEAD"})
        self._say(answer, with_body=True)

    # The base class defines these method names.
    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _refuse  # noqa: N815

    def _give(self, *, with_body: bool) -> None:
        path, _, _ = self.path.partition("?")
        try:
            answer = self._respond(path, self.headers.get("Accept", ""))
        except Exception:
            log.exception("no answer to %s", path)
            answer = Answer(500, b"the agent's log says why\n")
        self._say(answer, with_body=with_body)

    def _say(self, answer: Answer, *, with_body: bool) -> None:
        self.send_response(answer.status)
        headers = {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body)), **answer.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        if with_body:
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (as the base class spells it)
        """Log nothing: probes come every few seconds."""


def _listening(address: ListenAddress) -> socket.socket:
    if address.host == "::" and not socket.has_dualstack_ipv6():  # a kernel without IPv6
        address = ListenAddress("0.0.0.0", address.port)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # A successor, or another Service, may listen while old connections are still in TIME_WAIT.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address.host != "::")
        server.bind(address)
        server.listen(BACKLOG)
    except OSError:
        server.close()
        raise
    return server


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
