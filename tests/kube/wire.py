"""A wire to the API server that can be cut, and that can go dead without a word: bytes pass it as they are."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self


class Wire:
    """Listens on an address of its own and passes all on to a port of 127.0.0.1."""

    def __init__(self, port: int, address: str = "127.0.0.1", *, listener: socket.socket | None = None) -> None:
        """Listen at an address, or with a socket of `listen`, which may be another network namespace's."""
        self.port = port  # of 127.0.0.1: where new connections lead
        self.delay = 0.0  # seconds by which whatever is sent is late
        self._passing = threading.Event()
        self._passing.set()
        self._ends: list[socket.socket] = []
        self._listener = listener or self.listen(address)
        self.server = f"https://{address}:{self._listener.getsockname()[1]}"
        self.accepted = 0
        self._refuses = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._passing.set()
        self._hang_up()

    @staticmethod
    def listen(address: str = "127.0.0.1") -> socket.socket:
        """Return a socket that listens, of the namespace in which this is called."""
        return socket.create_server((address, 0))

    def cut(self) -> None:
        """Break all connections, and each new one at once."""
        self._refuses = True
        self._hang_up()

    def mend(self) -> None:
        """Let new connections pass again."""
        self._refuses = False
        self._passing.set()

    def stall(self) -> None:
        """Hold back every byte; connections stay open, new ones are accepted."""
        self._passing.clear()

    def _hang_up(self) -> None:
        ends, self._ends = self._ends, []
        for end in ends:
            _shut(end)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self._refuses:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                client.close()
                continue
            self._ends += [client, server]
            for source, goal in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(source, goal), daemon=True).start()

    def _pass_on(self, source: socket.socket, goal: socket.socket) -> None:
        with source, suppress(OSError):
            while data := source.recv(1 << 16):
                self._passing.wait()
                time.sleep(self.delay)
                goal.sendall(data)
        _shut(goal)


def _shut(end: socket.socket) -> None:
    """End a connection; whoever reads from it closes it."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
