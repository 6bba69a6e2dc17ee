"""The cookie of the node's own network namespace: only processes in it are served NodePorts at loopback.

Linux tells a process its cookie since 5.14, and a hook since 5.7. Before 5.14 the agent connects a socket whose cookie
the hooks know, and they record its network namespace.
"""

from __future__ import annotations

import socket
import sys

from socklb.datapath import features

SO_COOKIE = 57  # socket(7); kernel 4.12
DISCARD = 9  # a port without a server


def cookie_of(any_socket: socket.socket) -> int:
    """Return the cookie of a socket."""
    return int.from_bytes(any_socket.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8), sys.byteorder)


class OwnNetwork:
    """This process' network namespace.

    cookie: the namespace's; 0 if the kernel does not tell a process.
    asking: in that case the cookie of a socket, by which the hooks recognize it; otherwise 0.
    """

    def __init__(self) -> None:
        self.cookie = features.netns_cookie()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.asking = 0 if self.cookie else cookie_of(self._socket)

    def tell_hooks(self) -> None:
        """Make a hook see the socket, if this process is in the node's cgroup or below. Nothing is sent."""
        self._socket.connect(("127.0.0.1", DISCARD))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
