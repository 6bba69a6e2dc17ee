"""Answers at every address of its namespace with the address that was connected to: `python -m bench.peers.server`."""

from __future__ import annotations

import contextlib
import socket


def main() -> None:
    """Serve one connection after the other, until killed."""
    with socket.create_server(("0.0.0.0", 8080), backlog=4096) as listener:
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(ConnectionError):
                connection.sendall(connection.getsockname()[0].encode())


main()
