"""The cookie of the node's own network namespace: NodePorts are served at loopback to the processes in it alone.

Linux tells a process from 5.14 on, and a hook from 5.7 on. Before 5.14 the agent connects a socket that the hooks know
by its cookie, and they write down where it is.
"""

from __future__ import annotations

import socket
import sys

from socklb.datapath import features

SO_COOKIE = 57  # socket(7); kernel 4.12
DISCARD = 9  # a port that nobody serves


def cookie_of(any_socket: socket.socket) -> int:
    """Return the cookie of a socket."""
    return int.from_bytes(any_socket.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8), sys.byteorder)


class OwnNetwork:
    """This process' network namespace.

    cookie: the namespace's; 0 where the kernel does not tell us.
    asking: there, the cookie of a socket, by which the hooks recognize it; else 0.
    """

    def __init__(self) -> None:
        self.cookie = features.netns_cookie()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.asking = 0 if self.cookie else cookie_of(self._socket)

    def tell_hooks(self) -> None:
        """Have a hook see the socket, if this process is in the node's cgroup or below. Nothing is sent."""
        self._socket.connect(("127.0.0.1", DISCARD))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
