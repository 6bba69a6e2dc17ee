"""Ports for servers that are told theirs before they start."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

# Below Linux' ip_local_port_range (32768 and above unless changed), and below Kubernetes' NodePorts (30000 and above):
# whoever asks the kernel for any port meanwhile, as agents of other tests do, is given none of these.
ASKED_FOR_BY_NUMBER = range(20000, 30000)


def free_ports(count: int) -> list[int]:
    """Return ports of all addresses of this network namespace that nobody listens at, nor is likely to before long."""
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = random.choice(ASKED_FOR_BY_NUMBER)
            try:
                held.enter_context(socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True))
                datagrams = held.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
                datagrams.bind(("::", port))
            except OSError:  # somebody's
                continue
            ports.append(port)
        return ports
