"""Which devices are uplinks, and with which address a client is masqueraded there."""

from __future__ import annotations

import pytest

from socklb.serving import pack_address
from socklb.tc.devices import Uplink, refused, unmatched, uplinks
from socklb.tc.rtnetlink import LOOPBACK, Device, Found, Hop, Own

TUNNEL = 65534  # ARPHRD_NONE: wireguard
NODE, NODE6, SECOND, FLANNEL, PODS = "172.18.0.3", "fd00:172:18::3", "192.0.2.3", "10.244.1.0", "10.244.1.1"
OWN = frozenset(map(pack_address, (NODE, NODE6)))
LO, ETH0, ETH1, CNI0, VETH, VXLAN, BOND, PORT, VLAN, WG = (
    Device(1, "lo", "", LOOPBACK),
    Device(2, "eth0"),
    Device(3, "eth1"),
    Device(4, "cni0", "bridge"),
    Device(5, "veth1", "veth", master=4),
    Device(6, "flannel.1", "vxlan"),
    Device(7, "bond0", "bond"),
    Device(8, "eth2", master=7),
    Device(9, "bond0.100", "vlan"),
    Device(10, "wg0", "wireguard", TUNNEL),
)


def at(device: Device, *addresses: str) -> tuple[Own, ...]:
    return tuple(Own(device.ifindex, pack_address(address)) for address in addresses)


def found(*devices: Device, addresses: tuple[Own, ...] = (), hops: tuple[Hop, ...] = ()) -> Found:
    return Found((LO, *devices), addresses, hops)


def names(place: Found, *patterns: str) -> list[str]:
    return [uplink.name for uplink in uplinks(place, OWN, patterns)]


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        pytest.param(found(ETH0, ETH1, addresses=at(ETH0, NODE)), ["eth0"], id="the node's address"),
        pytest.param(found(ETH0, ETH1, addresses=at(ETH0, NODE6)), ["eth0"], id="the node's IPv6 address"),
        pytest.param(found(ETH0, ETH1, hops=(Hop(3, gateway=True),)), ["eth1"], id="a route by a gateway"),
        pytest.param(found(ETH0, ETH1, hops=(Hop(3, gateway=False),)), [], id="a network beside it is no reason"),
        pytest.param(found(ETH0, hops=(Hop(2, gateway=False, default=True),)), ["eth0"], id="the default route"),
        pytest.param(
            found(ETH0, CNI0, VETH, addresses=(*at(ETH0, NODE), *at(CNI0, PODS)), hops=(Hop(4, gateway=False),)),
            ["eth0"],
            id="pods' bridges and veths are none",
        ),
        pytest.param(
            found(ETH0, VXLAN, addresses=(*at(ETH0, NODE), *at(VXLAN, FLANNEL)), hops=(Hop(6, gateway=True),)),
            ["eth0", "flannel.1"],
            id="a tunnel to pods of other nodes",
        ),
        pytest.param(found(BOND, PORT, addresses=at(BOND, NODE)), ["bond0"], id="a bond and not its ports"),
        pytest.param(found(BOND, PORT, VLAN, addresses=at(VLAN, NODE)), ["bond0.100"], id="a VLAN"),
        pytest.param(found(addresses=at(LO, NODE)), [], id="never lo"),
    ],
)
def test_uplinks_are_found(place: Found, expected: list[str]) -> None:
    assert names(place) == expected


def test_patterns_say_it_alone() -> None:
    place = found(ETH0, ETH1, CNI0, addresses=at(CNI0, NODE), hops=(Hop(2, gateway=True),))
    assert names(place, "eth*") == ["eth0", "eth1"]
    assert unmatched(place, ["eth*", "bond0"]) == ["bond0"]


def test_a_device_without_an_ethernet_header_is_named_instead() -> None:
    place = found(ETH0, WG, addresses=at(ETH0, NODE), hops=(Hop(10, gateway=True),))
    assert names(place) == ["eth0"]
    assert refused(place, OWN, ()) == ["wg0"]


@pytest.mark.parametrize(
    ("addresses", "ipv4", "ipv6"),
    [
        pytest.param(at(ETH0, SECOND, NODE, NODE6), NODE, NODE6, id="the node's before another of the device"),
        pytest.param(at(ETH0, SECOND), SECOND, "", id="the device's"),
        pytest.param((*at(LO, NODE), *at(ETH0, NODE6)), NODE, NODE6, id="the node's on another device"),
        pytest.param(at(LO, SECOND), "", "", id="none: not one that nobody knows"),
    ],
)
def test_who_stands_for_a_client(addresses: tuple[Own, ...], ipv4: str, ipv6: str) -> None:
    (uplink,) = uplinks(found(ETH0, addresses=addresses), OWN, ["eth0"])
    assert uplink == Uplink(2, "eth0", *(pack_address(text) if text else b"" for text in (ipv4, ipv6)))
