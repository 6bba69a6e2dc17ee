"""Nodes whose uplink is of another kind: a bond, a VLAN's device, a tunnel. The rest is as in tests/packets/network.py.

node (bond0, trunk.7 …) -- switch -- client, far
node (wg0, or ipip and sit) == through eth0 == client, far
"""

from __future__ import annotations

from tests.packets.network import CLIENT, CLIENT6, NODE, NODE6, OTHER_NODE, PODS, PODS6, Network

OTHER_NODE6 = "fd00:31::3"
VLAN = "7"
PORT = "51820"  # of WireGuard
# Of the ends of tunnels, in both families.
INSIDE = {
    "node": ("10.99.0.2", "fd00:99::2"),
    "client": ("10.99.0.9", "fd00:99::9"),
    "far": ("10.99.0.3", "fd00:99::3"),
}
OUTSIDE = {"node": NODE, "client": CLIENT, "far": OTHER_NODE}
SUBNETS = {"a": ("10.244.1.0/24", "fd00:10:244:1::/64"), "far": ("10.244.2.0/24", "fd00:10:244:2::/64")}


class Switched(Network):
    """A node that is plugged into a switch, as the others are."""

    places = (*Network.places, "switch")
    kinds: tuple[str, ...] = ()
    uplinks: tuple[str, ...] = ()
    node, client = (NODE, NODE6), (CLIENT, CLIENT6)
    seen_elsewhere = node  # whom a pod of another node sees in a client's place

    def _wire_outside(self) -> None:
        self.run("switch", "ip", "link", "add", "br0", "up", "type", "bridge")
        for place, address, address6 in (("client", CLIENT, CLIENT6), ("far", OTHER_NODE, OTHER_NODE6)):
            self._link(place, address + "/24", address6 + "/64", at="switch")
            self._plug(place)
        self._wire_uplink()
        self._address("node", self.uplinks[0], NODE + "/24", NODE6 + "/64")
        self._address("far", "lo", PODS["far"] + "/32", PODS6["far"] + "/128")

    def _wire_uplink(self) -> None:
        raise NotImplementedError

    def _plug(self, port: str) -> None:
        self.run("switch", "ip", "link", "set", "dev", port, "master", "br0", "up")

    def _bond(self) -> list[str]:
        """Have bond0, of two cables; give the switch's ends."""
        words = ("mode", "active-backup", "miimon", "50")
        self.run("node", "ip", "link", "add", "bond0", "type", "bond", *words)
        for number in "12":
            self._cable("switch", f"node{number}", "node", f"port{number}")
            self.run("node", "ip", "link", "set", "dev", f"port{number}", "master", "bond0")
            self.run("switch", "ip", "link", "set", "dev", f"node{number}", "up")
        self.run("node", "ip", "link", "set", "dev", "bond0", "up")
        return ["node1", "node2"]

    def _tag(self, place: str, device: str) -> str:
        """Have a VLAN's device; give its name."""
        name = f"{device}.{VLAN}"
        self.run(place, "ip", "link", "set", "dev", device, "up")
        self.run(place, "ip", "link", "add", "link", device, "name", name, "type", "vlan", "id", VLAN)
        return name


class Bond(Switched):
    kinds, uplinks = ("bond",), ("bond0",)

    def _wire_uplink(self) -> None:
        for port in self._bond():
            self._plug(port)


class Vlan(Switched):
    kinds, uplinks = ("vlan",), ("trunk.7",)

    def _wire_uplink(self) -> None:
        self._cable("switch", "node1", "node", "trunk")
        self._tag("node", "trunk")
        self._plug(self._tag("switch", "node1"))


class VlanOfBond(Switched):
    kinds, uplinks = ("bond", "vlan"), ("bond0.7",)

    def _wire_uplink(self) -> None:
        for port in self._bond():
            self._plug(self._tag("switch", port))
        self._tag("node", "bond0")


class Tunnelled(Network):
    """A node that others are behind tunnels of: a client, and another node with its pods."""

    kinds: tuple[str, ...] = ()
    uplinks: tuple[str, ...] = ()
    node, client = INSIDE["node"], INSIDE["client"]
    seen_elsewhere = node

    def _route(self) -> None:
        super()._route()
        self._dig()
        for six, family in enumerate(("-4", "-6")):
            via, back = self.device_to("far", six), self.device_to("node", six)
            source = (PODS, PODS6)[six]["far"]
            self.run("node", "ip", family, "route", "replace", SUBNETS["far"][six], "dev", via)
            self.run("far", "ip", family, "route", "replace", SUBNETS["a"][six], "dev", back, "src", source)

    def _dig(self) -> None:
        raise NotImplementedError

    def device_to(self, place: str, six: int) -> str:
        """Return the device that leads there."""
        raise NotImplementedError


class WireGuard(Tunnelled):
    kinds, uplinks = ("wireguard",), ("eth0", "wg0")

    def _dig(self) -> None:
        keys = {place: self._make_device(place) for place in INSIDE}
        for place in ("client", "far"):
            self._add_peer("node", place, keys[place])
            self._add_peer(place, "node", keys["node"])

    def _make_device(self, place: str) -> str:
        """Have wg0; give its public key."""
        self.run(place, "ip", "link", "add", "wg0", "type", "wireguard")
        words = f"wg genkey | wg set wg0 listen-port {PORT} private-key /proc/self/fd/0"
        self.run(place, "sh", "-c", words)
        four, six = INSIDE[place]
        self._address(place, "wg0", four + "/24", six + "/64")
        return self.output(place, "wg", "show", "wg0", "public-key")

    def _add_peer(self, place: str, other: str, key: str) -> None:
        own = (f"{address}/{bits}" for address, bits in zip(INSIDE[other], (32, 128), strict=True))
        behind = SUBNETS.get({"node": "a"}.get(other, other), ())
        words = ("allowed-ips", ",".join((*own, *behind)), "endpoint", f"{OUTSIDE[other]}:{PORT}")
        self.run(place, "wg", "set", "wg0", "peer", key, *words)

    def device_to(self, place: str, six: int) -> str:
        return "wg0"


class IpInIp(Tunnelled):
    """IPv4 in IPv4 (ipip), and IPv6 in IPv4 (sit)."""

    kinds = ("ipip", "sit")
    uplinks = ("eth0", *(f"{kind}-{place}" for kind in kinds for place in ("client", "far")))

    def _dig(self) -> None:
        for place in ("client", "far"):
            self._tunnel("node", place)
            self._tunnel(place, "node")

    def _tunnel(self, place: str, other: str) -> None:
        for six, (kind, bits) in enumerate((("ipip", "32"), ("sit", "128"))):
            name, ends = f"{kind}-{other}", ("local", OUTSIDE[place], "remote", OUTSIDE[other])
            self.run(place, "ip", "link", "add", name, "type", kind, *ends)
            self._address(place, name, f"{INSIDE[place][six]}/{bits}")
            self.run(place, "ip", "route", "add", f"{INSIDE[other][six]}/{bits}", "dev", name)

    def device_to(self, place: str, six: int) -> str:
        return f"{self.kinds[six]}-{place}"


KINDS = (Bond, Vlan, VlanOfBond, WireGuard, IpInIp)
