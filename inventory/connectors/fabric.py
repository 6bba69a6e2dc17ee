"""The wire between the nodes: a bridge in a network namespace of its own, and a veth pair to each node.

No interface is ever in the host's network namespace, so that there is no way from a node to the host or beyond.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from inventory.connectors.host import NETNS, is_mount, run

FABRIC = "socklb-fabric"
BRIDGE = "br0"


def netns_name(node: str) -> str:
    """The network namespace of a node, as the host's `ip netns list` shows it."""
    return f"socklb-{node}"


def netns_path(node: str) -> Path:
    return NETNS / netns_name(node)


def ensure() -> None:
    if not is_mount(NETNS / FABRIC):
        _delete(FABRIC)  # what a crash inside `ip netns add` leaves is a plain file
        run("ip", "netns", "add", FABRIC)
    if BRIDGE not in run("ip", "-n", FABRIC, "-brief", "link", "show", "type", "bridge"):
        run("ip", "-n", FABRIC, "link", "add", BRIDGE, "type", "bridge")
    run("ip", "-n", FABRIC, "link", "set", BRIDGE, "up")


def plug(node: str, addresses: Sequence[str]) -> None:
    """Give a node its network namespace, with eth0 on the bridge."""
    name = netns_name(node)
    run("ip", "netns", "add", name)
    # Without duplicate address detection an IPv6 address serves at once; the setting is the namespace's own.
    run("nsenter", f"--net={NETNS / name}", "sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad")
    peer = ("type", "veth", "peer", "name", node, "netns", FABRIC)
    run("ip", "link", "add", "eth0", "address", hardware_address(node), "netns", name, *peer)
    run("ip", "-n", FABRIC, "link", "set", node, "master", BRIDGE, "up")
    lines = [f"address add {address} dev eth0\n" for address in addresses]
    run("ip", "-n", name, "-batch", "-", given="link set lo up\nlink set eth0 up\n" + "".join(lines))


def hardware_address(node: str) -> str:
    """The same for a node that is made anew: its neighbours still know it by this one, for up to a minute."""
    digest = hashlib.sha256(node.encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))  # 02: administered locally, unicast


def unplug(node: str) -> None:
    """Remove what plug() made, also when it was made in part only."""
    if is_mount(NETNS / FABRIC) and node in run("ip", "-n", FABRIC, "-brief", "link").replace("@", " ").split():
        # A namespace's end removes its interfaces later, in the background; a new node must find the name free now.
        run("ip", "-n", FABRIC, "link", "delete", node)
    _delete(netns_name(node))


def remove() -> None:
    _delete(FABRIC)


def _delete(name: str) -> None:
    if (NETNS / name).exists():
        run("ip", "netns", "delete", name)
