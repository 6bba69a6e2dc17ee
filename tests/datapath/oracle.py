"""What a program sees outside the hooks: Services served on the packet, as by kube-proxy.

with served_on_packets(sandbox, {("10.96.77.1", 80): ("10.244.1.1", 8080)}, {31701: ("10.244.1.1", 8080)}):
    assert sandbox.run(ask) == sandbox.run(ask, hooked=False)
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping

from rig.sandbox import NODE4, NODE6, Sandbox

Place = tuple[str, int]
SERVICES4, SERVICES6 = "10.96.0.0/12", "fd00:10:96::/48"


@contextlib.contextmanager
def served_on_packets(
    sandbox: Sandbox, services: Mapping[Place, Place], node_ports: Mapping[int, tuple[Place, ...]] = {}
) -> Iterator[None]:
    """Translate destinations in the sandbox's network, TCP and UDP, while the block runs."""
    rules = [f"{_family(a)} daddr {a} {_to(port, backend)}" for (a, port), backend in services.items()]
    rules += [
        f"meta nfproto {'ipv6' if ':' in backend[0] else 'ipv4'} fib daddr type local {_to(port, backend)}"
        for port, backends in node_ports.items()
        for backend in backends
    ]
    lines = "\n".join(f"meta l4proto {{ tcp, udp }} {rule}" for rule in rules)
    table = f"table inet oracle {{ chain c {{ type nat hook output priority -100;\n{lines}\n}}\n}}\n"
    inside = ("ip", "netns", "exec", sandbox.name)
    subprocess.run([*inside, "nft", "-f", "-"], input=table, text=True, check=True)
    for network, source in ((SERVICES4, NODE4), (SERVICES6, NODE6)):
        subprocess.run(["ip", "-n", sandbox.name, "route", "add", network, "dev", "lo", "src", source], check=True)
    try:
        yield
    finally:
        subprocess.run([*inside, "nft", "delete", "table", "inet", "oracle"], check=True)
        for network in (SERVICES4, SERVICES6):
            subprocess.run(["ip", "-n", sandbox.name, "route", "del", network, "dev", "lo"], check=True)


def _family(address: str) -> str:
    return "ip6" if ":" in address else "ip"


def _to(port: int, backend: Place) -> str:
    address, number = backend
    target = f"[{address}]:{number}" if ":" in address else f"{address}:{number}"
    return f"th dport {port} dnat {_family(address)} to {target}"
