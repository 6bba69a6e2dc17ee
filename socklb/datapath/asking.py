"""Test whether the hooks translate, with a socket and a frontend of the agent's own.

    listener, decoy = loopback(socket.AF_INET), loopback(socket.AF_INET)
    …                               # the decoy's address becomes a frontend, the listener its only backend
    why = ask(listener, decoy)      # "" if connect(), sendto(), recvfrom() and getpeername() were translated

No other process can have that frontend, because the decoy holds the port. What is not translated arrives at the decoy,
so nothing leaves the machine. The test uses UDP, because a datagram to loopback has arrived when sendto() returns, and
the connect() programs are the same as for TCP.

It can be run as a program, to test another cgroup: `python asking.py CGROUP LISTENER DECOY`, with the numbers of two
inherited descriptors. It prints the result. So it imports nothing but the standard library.
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
    """Return a UDP socket bound to a free loopback port.

    Raises:
        OSError: the node does not have this family.
    """
    found = socket.socket(family, socket.SOCK_DGRAM)
    try:
        found.bind((LOOPBACK[family], 0))
    except OSError:
        found.close()
        raise
    return found


def ask(listener: socket.socket, decoy: socket.socket) -> str:
    """Send to the decoy's address in every way; return what was not translated.

    Raises:
        TimeoutError: a datagram reached neither socket, which says nothing about the hooks: something drops it on
            loopback.
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
    """Receive the datagram at whichever socket it reached, and answer it."""
    ready, _, _ = select.select([listener, decoy], [], [], PATIENCE)
    for found in ready:
        _, client = found.recvfrom(16)
        if answered:
            found.sendto(b"answer", client)
        return found
    raise TimeoutError("a datagram to loopback did not arrive")


def main(cgroup: str, listener: str, decoy: str) -> int:
    """Join the cgroup, run the test, and print the result."""
    Path(cgroup, "cgroup.procs").write_text("0")
    with contextlib.ExitStack() as opened:
        ends = [opened.enter_context(socket.socket(fileno=int(number))) for number in (listener, decoy)]
        sys.stdout.write(ask(*ends))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
