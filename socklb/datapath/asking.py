"""What a socket of our own meets at a Service of our own: the hooks translate it, or they do not.

    listener, decoy = loopback(socket.AF_INET), loopback(socket.AF_INET)
    …                               # the decoy's address becomes a frontend, the listener its only backend
    why = ask(listener, decoy)      # "" if connect(), sendto(), recvfrom() and getpeername() were translated

Nobody else can have that frontend, for the decoy has the port, and what is not translated ends at the decoy: nothing
leaves the machine. UDP, because a datagram to loopback has arrived when sendto() returns, and the programs of
connect() are the same for TCP.

It can be run as a program, to ask from another cgroup: `python asking.py CGROUP LISTENER DECOY`, the numbers of two
inherited descriptors. It prints the answer. So it needs nothing but Python.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
from pathlib import Path

PATIENCE = 0.2  # seconds
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def loopback(family: socket.AddressFamily) -> socket.socket:
    """Return a UDP socket at a free port of loopback.

    Raises:
        OSError: the node has no such family.
    """
    found = socket.socket(family, socket.SOCK_DGRAM)
    try:
        found.bind((LOOPBACK[family], 0))
    except OSError:
        found.close()
        raise
    return found


def ask(listener: socket.socket, decoy: socket.socket) -> str:
    """Ask the decoy's address in every way; say which was not translated.

    Raises:
        TimeoutError: a datagram reached neither, which says nothing about the hooks: something drops it on loopback.
    """
    asked = decoy.getsockname()[:2]
    name = f"{asked[0]} port {asked[1]}"
    try:
        return _by_connect(listener, decoy, asked, name) or _by_sendto(listener, decoy, asked, name)
    except TimeoutError:
        raise
    except OSError as error:
        return f"{name}: {error.strerror or error}"


def _by_connect(listener: socket.socket, decoy: socket.socket, asked: tuple[str, int], name: str) -> str:
    with socket.socket(decoy.family, socket.SOCK_DGRAM) as client:
        client.connect(asked)
        client.send(b"connect")
        if _who_received(listener, decoy) is not listener:
            return f"connect() to {name} was not translated"
        if client.getpeername()[:2] != asked:
            return f"getpeername() of what asked {name} gives the backend"
    return ""


def _by_sendto(listener: socket.socket, decoy: socket.socket, asked: tuple[str, int], name: str) -> str:
    with socket.socket(decoy.family, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.sendto(b"sendto", asked)
        if _who_received(listener, decoy, answered=True) is not listener:
            return f"sendto() to {name} was not translated"
        if client.recvfrom(16)[1][:2] != asked:
            return f"recvfrom() gives the backend instead of {name}"
    return ""


def _who_received(listener: socket.socket, decoy: socket.socket, *, answered: bool = False) -> socket.socket:
    """Take the datagram from whom it reached, and answer it."""
    ready, _, _ = select.select([listener, decoy], [], [], PATIENCE)
    for found in ready:
        _, client = found.recvfrom(16)
        if answered:
            found.sendto(b"answer", client)
        return found
    raise TimeoutError("a datagram to loopback did not arrive")


def main(cgroup: str, listener: str, decoy: str) -> int:
    """Join the cgroup, ask, and print what is to be said."""
    Path(cgroup, "cgroup.procs").write_text("0")
    with contextlib.ExitStack() as opened:
        ends = [opened.enter_context(socket.socket(fileno=int(number))) for number in (listener, decoy)]
        sys.stdout.write(ask(*ends))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
