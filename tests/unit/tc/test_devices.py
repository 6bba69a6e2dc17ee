"""Which devices are uplinks, and with which address a client is masqueraded there."""

from __future__ import annotations

import pytest

from socklb.api.addresses import Network
from socklb.model import pack_address
from socklb.tc import layout
from socklb.tc.devices import (
    Uplink,
    lead_everywhere,
    of_pods,
    refused,
    towards_pods,
    unmatched,
    uplinks,
    without_ethernet,
    wrapped,
)
from socklb.tc.rtnetlink import LOOPBACK, WRAPPED, Device, Found, Hop, Own, unpacks

TUNNEL, IPGRE = 65534, 778  # ARPHRD_NONE: wireguard
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
GRE = Device(13, "gre1", "gre", IPGRE)


def at(device: Device, *addresses: str) -> tuple[Own, ...]:
    return tuple(Own(device.ifindex, pack_address(address)) for address in addresses)


def found(*devices: Device, addresses: tuple[Own, ...] = (), hops: tuple[Hop, ...] = ()) -> Found:
    return Found((LO, *devices), addresses, hops)


def names(place: Found, *patterns: str) -> list[str]:
    return [uplink.name for uplink in uplinks(place, OWN, patterns)]


POD_HOPS = (Hop(4, gateway=False, to=pack_address("10.244.1.0"), bits=120), Hop(4, gateway=True))


@pytest.mark.parametrize(
    ("hops", "expected"),
    [(POD_HOPS, ["eth0"]), (POD_HOPS[1:], ["eth0", "cni0"])],
    ids=["a pod is the gateway to something behind it", "the control: no pods are there"],
)
def test_a_bridge_of_pods_is_none_whatever_is_behind_them(hops: tuple[Hop, ...], expected: list[str]) -> None:
    place = found(ETH0, CNI0, VETH, addresses=(*at(ETH0, NODE), *at(CNI0, PODS)), hops=hops)
    chosen = uplinks(place, OWN, (), [Network.parse("10.244.0.0/16")])
    assert [uplink.name for uplink in chosen] == expected


def test_a_tunnel_to_other_nodes_pods_is_one_also_without_a_gateway_of_its_own() -> None:
    route = Hop(6, gateway=False, to=pack_address("10.244.0.0"), bits=112)
    place = found(ETH0, VXLAN, addresses=at(ETH0, NODE), hops=(route, Hop(6, gateway=True)))
    chosen = uplinks(place, OWN, (), [Network.parse("10.244.0.0/16")])
    assert [uplink.name for uplink in chosen] == ["eth0", "flannel.1"]


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


def test_a_tunnel_of_ip_packets_is_one_where_a_route_leads_there() -> None:
    place = found(ETH0, WG, addresses=at(ETH0, NODE), hops=(Hop(10, gateway=False),))
    assert (names(place), without_ethernet(place)) == (["eth0", "wg0"], {WG.ifindex})
    assert names(found(ETH0, WG, addresses=at(ETH0, NODE))) == ["eth0"]


def test_a_device_with_another_header_is_named_instead() -> None:
    place = found(ETH0, GRE, addresses=at(ETH0, NODE), hops=(Hop(13, gateway=True),))
    assert names(place) == ["eth0"]
    assert refused(place, OWN, ()) == ["gre1"]


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


POD_NETWORKS = [Network.parse("10.244.0.0/16"), Network.parse("fd00:10:244::/48")]
POD = Device(11, "veth2", "veth", peer=2, leads_away=True)


def to(device: Device, address: str, length: int, *, gateway: bool = False) -> Hop:
    bits = length if ":" in address else 96 + length
    return Hop(device.ifindex, gateway, to=pack_address(address), bits=bits)


@pytest.mark.parametrize(
    ("device", "hop", "way"),
    [
        pytest.param(POD, to(POD, "10.244.1.9", 32), layout.INTO_POD, id="a pod's veth"),
        pytest.param(POD, to(POD, "fd00:10:244::9", 128), layout.INTO_POD, id="over IPv6"),
        pytest.param(CNI0, to(CNI0, "10.244.1.0", 24), layout.TO_NEIGHBOUR, id="a bridge of pods"),
        pytest.param(CNI0, to(CNI0, "172.17.0.0", 16), None, id="a bridge of others"),
        pytest.param(CNI0, to(CNI0, "10.244.0.0", 8), None, id="a network that only begins as one of pods does"),
        pytest.param(CNI0, Hop(4, gateway=False, default=True), None, id="the way to everywhere"),
        pytest.param(CNI0, to(CNI0, "10.244.2.0", 24, gateway=True), None, id="a way to another node"),
        pytest.param(VETH, to(VETH, "10.244.1.9", 32), None, id="a port of a bridge"),
        pytest.param(POD._replace(leads_away=False), to(POD, "10.244.1.9", 32), None, id="a veth to the node itself"),
        pytest.param(VXLAN, to(VXLAN, "10.244.2.0", 24), None, id="a tunnel"),
        pytest.param(ETH0, to(ETH0, "10.244.2.0", 24), None, id="an uplink"),
    ],
)
def test_devices_towards_pods_are_found_by_their_routes(device: Device, hop: Hop, way: int | None) -> None:
    place = found(ETH0, device, addresses=at(ETH0, NODE), hops=(hop,))
    assert towards_pods(place, POD_NETWORKS, [ETH0.ifindex]) == ({} if way is None else {device.ifindex: way})
    assert towards_pods(place, [], [ETH0.ifindex]) == {}, "without host routing"


DEFAULT, DEFAULT6 = Hop(2, gateway=True, default=True), Hop(2, gateway=True, default=True, ipv4=False)


@pytest.mark.parametrize(
    ("own", "hops", "everywhere"),
    [
        pytest.param([NODE], (DEFAULT,), True, id="a node of one family"),
        pytest.param([NODE, NODE6], (DEFAULT, DEFAULT6), True, id="a node of both"),
        pytest.param([NODE, NODE6], (DEFAULT,), False, id="not for IPv6"),
        pytest.param([NODE], (), False, id="no default route"),
        pytest.param([NODE], (Hop(10, gateway=True, default=True),), False, id="by what is no uplink of ours"),
        pytest.param([], (), True, id="nothing is known of the node yet"),
    ],
)
def test_uplinks_lead_everywhere(own: list[str], hops: tuple[Hop, ...], everywhere: bool) -> None:
    addresses = frozenset(map(pack_address, own))
    assert lead_everywhere(found(ETH0, WG, hops=hops), addresses, {ETH0.ifindex}) is everywhere


CALICO, PEER = Device(11, "cali1", "veth"), Device(12, "veth2", "veth")


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        pytest.param(found(CALICO, PEER, hops=(Hop(11, gateway=False),)), {11}, id="a pod's own device"),
        pytest.param(found(CNI0, VETH, PEER, hops=(Hop(4, gateway=False),)), {5}, id="the ports of pods' bridge"),
        pytest.param(found(CNI0, hops=(Hop(4, gateway=False),)), set(), id="a bridge without pods"),
        pytest.param(found(ETH0, ETH1, hops=(Hop(2, gateway=False), Hop(3, gateway=False))), set(), id="no real one"),
        pytest.param(found(VXLAN, hops=(Hop(6, gateway=True),)), set(), id="no way to other nodes"),
        pytest.param(found(WG, hops=(Hop(10, gateway=False),)), set(), id="none without an Ethernet header"),
    ],
)
def test_devices_of_pods_are_found(place: Found, expected: set[int]) -> None:
    assert of_pods(place, {ETH0.ifindex}) == expected


def test_a_tunnel_that_an_older_kernel_leaves_wrapped_is_not_served_and_named() -> None:
    old = Device(14, "ipip1", "ipip", WRAPPED)
    place = found(ETH0, old, addresses=at(ETH0, NODE), hops=(Hop(14, gateway=False),))
    assert names(place) == ["eth0"]
    assert wrapped(place, OWN, ()) == ["ipip1"]
    assert refused(place, OWN, ()) == []
    assert without_ethernet(place) == set()


@pytest.mark.parametrize(
    ("release", "expected"), [("5.10.0-46-cloud-amd64", False), ("5.14.0-70.el9", True), ("6.18.44", True)]
)
def test_tunnels_are_unpacked_since_5_14(release: str, *, expected: bool) -> None:
    assert unpacks(release) is expected
