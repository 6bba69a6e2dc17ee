"""A tunnel between the node and the client, at both ends a device without an Ethernet header (tun)."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

from tests.packets.network import Network

DEVICE = "tun0"
TUNNEL = {"client": ("10.99.0.9", "fd00:99::9"), "node": ("10.99.0.2", "fd00:99::2")}
# Carries packets from one end to the other. argv: the namespaces of the ends
CARRIER = f"""
import contextlib, ctypes, fcntl, os, select, struct, sys
libc, ends = ctypes.CDLL(None), []
for name in sys.argv[1:]:
    with open("/run/netns/" + name) as place:
        assert not libc.setns(place.fileno(), 0x40000000)
    ends.append(os.open("/dev/net/tun", os.O_RDWR))
    fcntl.ioctl(ends[-1], 0x400454ca, struct.pack("16sH22x", b"{DEVICE}", 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
print("ready", flush=True)
while True:
    for end in select.select(ends, [], [])[0]:
        with contextlib.suppress(OSError):  # the other end is not up yet
            os.write(ends[not ends.index(end)], os.read(end, 65536))
"""


@contextmanager
def tunnelled(network: Network) -> Generator[None]:
    """Have it while the block runs."""
    places = list(TUNNEL)
    carrier = network.start("node", sys.executable, "-c", CARRIER, *map(network.of, places), ready="ready")
    try:
        for place, (four, six) in TUNNEL.items():
            network.run(place, "ip", "address", "add", f"{four}/24", "dev", DEVICE)
            network.run(place, "ip", "address", "add", f"{six}/64", "dev", DEVICE, "nodad")
            network.run(place, "ip", "link", "set", DEVICE, "up")
        yield
    finally:
        carrier.kill()
        carrier.wait()
