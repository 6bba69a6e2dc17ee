"""The network between the nodes: a bridge in a network namespace of its own, and a veth pair to each node.

No interface is ever in the host's network namespace, so there is no route from a node to the host or beyond.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from inventory.connectors.this_machine import NETNS, is_mount, run

FABRIC = "socklb-fabric"
BRIDGE = "br0"


def netns_name(node: str) -> str:
    """Return the name of a node's network namespace in `ip netns list` on the host."""
    return f"socklb-{node}"


def netns_path(node: str) -> Path:
    return NETNS / netns_name(node)


def ensure() -> None:
    if not is_mount(NETNS / FABRIC):
        _delete(FABRIC)  # a crash inside `ip netns add` leaves a plain file
        run("ip", "netns", "add", FABRIC)
    if BRIDGE not in run("ip", "-n", FABRIC, "-brief", "link", "show", "type", "bridge"):
        run("ip", "-n", FABRIC, "link", "add", BRIDGE, "type", "bridge")
    run("ip", "-n", FABRIC, "link", "set", BRIDGE, "up")


def plug(node: str, addresses: Sequence[str]) -> None:
    """Give a node its network namespace, with eth0 on the bridge."""
    name = netns_name(node)
    run("ip", "netns", "add", name)
    # Without duplicate address detection an IPv6 address is usable at once; the setting is per namespace.
    run("nsenter", f"--net={NETNS / name}", "sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad")
    peer = ("type", "veth", "peer", "name", node, "netns", FABRIC)
    run("ip", "link", "add", "eth0", "address", hardware_address(node), "netns", name, *peer)
    run("ip", "-n", FABRIC, "link", "set", node, "master", BRIDGE, "up")
    lines = [f"address add {address} dev eth0\n" for address in addresses]
    run("ip", "-n", name, "-batch", "-", given="link set lo up\nlink set eth0 up\n" + "".join(lines))


def hardware_address(node: str) -> str:
    """Return a fixed address per node: its neighbours still remember it for up to a minute after the node is made
    again.
    """
    digest = hashlib.sha256(node.encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))  # 02: administered locally, unicast


def unplug(node: str) -> None:
    """Remove what plug() made, even if incomplete."""
    if is_mount(NETNS / FABRIC) and node in run("ip", "-n", FABRIC, "-brief", "link").replace("@", " ").split():
        # A removed namespace's interfaces are removed later, in the background; a new node needs the name now.
        run("ip", "-n", FABRIC, "link", "delete", node)
    _delete(netns_name(node))


def remove() -> None:
    _delete(FABRIC)


def _delete(name: str) -> None:
    if (NETNS / name).exists():
        run("ip", "netns", "delete", name)
