"""What the kernel has is read as `ip` shows it, and a change is told at once."""

from __future__ import annotations

import select
import subprocess

import pytest

from socklb.model import pack_address
from socklb.tc import rtnetlink
from socklb.tc.devices import uplinks
from tests.packets.network import NODE, NODE6, Network


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def made() -> None:
    ip("link", "add", "eth0", "type", "veth", "peer", "name", "far")
    ip("link", "add", "cni0", "type", "bridge")
    ip("link", "add", "pod", "type", "veth", "peer", "name", "podside")
    ip("link", "set", "pod", "master", "cni0")
    ip("link", "add", "eth1", "type", "veth", "peer", "name", "far1")
    for device, *addresses in (
        ("eth0", f"{NODE}/24", f"{NODE6}/64"),
        ("cni0", "10.244.1.1/24"),
        ("eth1", "10.7.0.1/24"),
    ):
        ip("link", "set", device, "up")
        for address in addresses:
            ip("address", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
    for device in ("far", "far1"):
        ip("link", "set", device, "up")


def test_devices_addresses_and_ways_are_as_they_were_made(node: Network) -> None:
    made()
    found = rtnetlink.read()
    devices = {device.name: device for device in found.devices}
    bridges = {name for name, device in devices.items() if device.kind == "bridge"}
    assert bridges == {"cni0"}
    assert {name for name, device in devices.items() if device.kind == "veth"} == devices.keys() - {"lo"} - bridges
    assert devices["pod"].master == devices["cni0"].ifindex
    assert devices["lo"].type == rtnetlink.LOOPBACK
    assert rtnetlink.Own(devices["eth0"].ifindex, pack_address(NODE)) in found.addresses
    assert rtnetlink.Own(devices["eth0"].ifindex, pack_address(NODE6)) in found.addresses
    assert not any(one.address.startswith(b"\xfe\x80") for one in found.addresses)  # of the link alone
    assert not any(hop.gateway for hop in found.hops)


@pytest.mark.parametrize(
    ("route", "out"),
    [
        pytest.param(["default", "via", "172.31.0.1"], {"eth0"}, id="default"),
        pytest.param(["10.244.2.0/24", "via", "172.31.0.3"], {"eth0"}, id="to pods of another node"),
        pytest.param(["10.9.0.0/16", "via", "10.7.0.9"], {"eth1"}, id="over the other one"),
        pytest.param(["10.9.0.0/16", "via", "10.7.0.9", "table", "1000"], {"eth1"}, id="in another table"),
        pytest.param(["10.9.0.0/16", "via", "inet6", "fd00:31::1", "dev", "eth0"], {"eth0"}, id="by an IPv6 gateway"),
        pytest.param(
            ["10.9.0.0/16", "nexthop", "via", "10.7.0.9", "nexthop", "via", "172.31.0.1"], {"eth0", "eth1"}, id="both"
        ),
        pytest.param(["fd00:9::/64", "via", "fd00:31::1"], {"eth0"}, id="IPv6"),
        pytest.param(["10.244.1.9/32", "dev", "pod"], set(), id="a pod's own"),
        pytest.param(["blackhole", "10.9.0.0/16"], set(), id="nowhere"),
    ],
)
def test_uplinks_follow_the_routes(node: Network, route: list[str], out: set[str]) -> None:
    made()
    ip("link", "set", "pod", "up")
    ip(*(["-6"] if route[0].startswith("fd") else []), "route", "add", *route)
    assert {uplink.name for uplink in uplinks(rtnetlink.read(), (), ())} == out


@pytest.mark.parametrize(("to", "bits"), [("10.9.0.0", 16), ("fd00:9::", 64)])
def test_where_routes_lead_to_is_read(node: Network, to: str, bits: int) -> None:
    made()
    ip("route", "add", f"{to}/{bits}", "dev", "eth0")
    hops = {(hop.to, hop.bits) for hop in rtnetlink.read().hops}
    assert (pack_address(to), bits + (0 if ":" in to else 96)) in hops


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize(
    ("rule", "by_port"),
    [(["dport", "53"], True), (["ipproto", "udp"], True), (["from", "10.9.0.0/16"], False), (["tos", "0x10"], False)],
    ids=["a port", "a protocol", "a source", "a class of traffic"],
)
@pytest.mark.parametrize("family", ["-4", "-6"])
def test_rules_by_port_are_seen_and_told(rule: list[str], by_port: bool, family: str) -> None:
    ip("link", "set", "lo", "up")
    asked = ["from", "fd00:9::/64"] if rule[0] == "from" and family == "-6" else rule
    with rtnetlink.Changes() as changes:
        assert not rtnetlink.read().rules_by_port
        changes.forget()
        ip(family, "rule", "add", *asked, "lookup", "main")
        assert select.select([changes], [], [], 5)[0]
    assert rtnetlink.read().rules_by_port == by_port


def test_a_veth_that_leads_to_another_network_namespace_is_known(node: Network) -> None:
    made()
    ip("link", "add", "away", "type", "veth", "peer", "name", "eth0", "netns", node.of("client"))
    assert [device.name for device in rtnetlink.read().devices if device.leads_away] == ["away"]


def test_a_change_is_told_at_once_and_more_than_there_is_room_for_is_no_failure(node: Network) -> None:
    with rtnetlink.Changes() as changes:
        assert not select.select([changes], [], [], 0)[0]
        ip("link", "add", "eth0", "type", "veth", "peer", "name", "far")
        assert select.select([changes], [], [], 5)[0]
        changes.forget()
        assert not select.select([changes], [], [], 0)[0]
        lines = "".join(f"link set eth0 mtu {1000 + n % 300}\n" for n in range(3000))
        subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)
        changes.forget()
        assert not select.select([changes], [], [], 0)[0]
