"""Host routing, packet by packet (BPF_PROG_TEST_RUN): what may be handed on is, and the stack gets what is in doubt."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from rig.sandbox import mounted_bpffs
from socklb.model import ANY4, ANY6, Frontend
from socklb.tc import layout
from tests.packets.network import (
    CLIENT,
    CLIENT6,
    NODE,
    NODE6,
    OTHER_NODE,
    PODS,
    PODS6,
    Network,
    RoutedNetwork,
    with_servers,
)
from tests.tc.translation.conftest import Node, mac, serving
from tests.tc.translation.naive import TCP, UDP, Packet, build, checksum, run

LEAVE, REDIRECT = -1, 7
SYN, ACK = 2, 16
L3, ICMP, GRE = 14, 1, 47
OTHER_NODE6 = "fd00:31::3"
SIX = pytest.mark.parametrize("six", [False, True], ids=["ipv4", "ipv6"])


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with with_servers(RoutedNetwork) as place:
        yield place


@pytest.fixture(scope="module")
def loaded(network: Network, objects: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("bpffs")
    with mounted_bpffs(folder) as bpffs, closing(Node(network, bpffs, objects, host_routing=True)) as node:
        for place, device, *addresses in (
            ("b", "b", PODS["b"], PODS6["b"]),
            ("far", "eth0", OTHER_NODE, OTHER_NODE6),
            ("client", "eth0", CLIENT, CLIENT6),
        ):
            for address in addresses:
                know(node, address, place, device)
        yield node


@pytest.fixture
def ready(node: Node) -> Node:
    """Every device is to be handed on at, and every neighbour is known."""
    for device, way in (("eth0", layout.TO_NEIGHBOUR), ("a", layout.INTO_POD), ("b", layout.INTO_POD)):
        node.put("ways", (layout.IFINDEX.pack(node.index_of(device)), bytes([way])))
    node.sync({})
    return node


def forget_ways() -> None:
    """Wait until the routes are asked again: a second at most, in the kernel's unit."""
    time.sleep(((1 << 30) - time.monotonic_ns() % (1 << 30)) / 1e9 + 0.005)


def know(node: Node, address: str, place: str, device: str) -> None:
    station = mac(node, place, "eth0").hex(":")
    node.network.run("node", "ip", "neighbour", "replace", address, "lladdr", station, "dev", device)


class Thrown(NamedTuple):
    """A packet from pod a at its device, and what is odd about it."""

    packet: Packet
    hops: int = 64
    mark: int = 0
    to_mac: bytes = b""  # not the device's own
    protocol: int = 0  # another one than the packet was made with
    tos: int = 0


def plain(*, six: bool, source: str = "", to: str = "", protocol: int = TCP, **more: object) -> Packet:
    pods = PODS6 if six else PODS
    ends = raw(source or pods["a"]), raw(to or pods["b"])
    packet = Packet(*ends, protocol, 4000, 8080, SYN if protocol == TCP else 0)
    return packet._replace(**more)  # type: ignore[arg-type]


def raw(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def frame(node: Node, device: str, thrown: Thrown) -> bytes:
    made = bytearray(build(thrown.packet))
    made[:6] = thrown.to_mac or mac(node, "node", device)
    if len(thrown.packet.source) == 16:
        made[L3 : L3 + 2] = struct.pack("!H", 0x6000 | thrown.tos << 4)
        made[L3 + 7] = thrown.hops
        made[L3 + 6] = thrown.protocol or made[L3 + 6]
    else:
        made[L3 + 1], made[L3 + 8] = thrown.tos, thrown.hops
        made[L3 + 9] = thrown.protocol or made[L3 + 9]
        header = L3 + (made[L3] & 15) * 4
        made[L3 + 10 : L3 + 12] = bytes(2)
        made[L3 + 10 : L3 + 12] = struct.pack("!H", checksum(bytes(made[L3:header])))
    return bytes(made)


def throw(node: Node, program: str, device: str, thrown: Thrown) -> tuple[int, bytes, bytes]:
    """Return the verdict, the frame, and what became of it."""
    before = frame(node, device, thrown)
    with node.network.inside("node"):
        verdict, after = run(node.programs.fd(program), before, node.index_of(device), thrown.mark)
    return verdict, before, after


@SIX
@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_what_a_pod_sends_another_is_handed_to_it(ready: Node, protocol: int, *, six: bool) -> None:
    thrown = Thrown(plain(six=six, protocol=protocol, payload=b"to b"))
    verdict, _, after = throw(ready, "routed_in", "a", thrown)
    assert verdict == REDIRECT
    assert after[12:] == frame(ready, "a", thrown._replace(hops=63))[12:]
    assert after[:12] == mac(ready, "b", "eth0") + mac(ready, "node", "b")


ODD: dict[str, Callable[[bool], Thrown]] = {
    "of another station": lambda six: Thrown(plain(six=six), to_mac=bytes.fromhex("02000000beef")),
    "for all stations": lambda six: Thrown(plain(six=six), to_mac=b"\xff" * 6),
    "at its last hop": lambda six: Thrown(plain(six=six), hops=1),
    "with a mark": lambda six: Thrown(plain(six=six), mark=7),
    "too long": lambda six: Thrown(plain(six=six, payload=bytes(1500))),
    "with options": lambda six: Thrown(plain(six=six, options=b"\1" * 8)),
    "a first fragment": lambda six: Thrown(plain(six=six, protocol=UDP, payload=bytes(99), cut=slice(0, 64))),
    "a later fragment": lambda six: Thrown(plain(six=six, protocol=UDP, payload=bytes(99), cut=slice(64, 107))),
    "to the node": lambda six: Thrown(plain(six=six, to="fd00:10:244:1::1" if six else "10.244.1.1")),
    "to its sender": lambda six: Thrown(plain(six=six, to=(PODS6 if six else PODS)["a"])),
    "to the world": lambda six: Thrown(plain(six=six, to=CLIENT6 if six else CLIENT)),
    "to nobody": lambda six: Thrown(plain(six=six, to="fd00:10:244:9::9" if six else "10.244.9.9")),
    "to many": lambda six: Thrown(plain(six=six, to="ff0e::9" if six else "224.0.1.9")),
    "from the node": lambda six: Thrown(plain(six=six, source=NODE6 if six else NODE)),
    "from this host": lambda six: Thrown(plain(six=six, source="::1" if six else "127.0.0.1")),
    "from many": lambda six: Thrown(plain(six=six, source="ff0e::9" if six else "224.0.1.9")),
    "from this link": lambda six: Thrown(plain(six=six, source="fe80::9" if six else "0.0.0.9")),
    "an ICMP error": lambda six: Thrown(
        plain(six=six, protocol=UDP, source_port=0x0100 if six else 0x0300), protocol=58 if six else ICMP
    ),
    "of another protocol": lambda six: Thrown(plain(six=six), protocol=GRE),
}


@SIX
@pytest.mark.parametrize("what", ODD)
def test_what_is_in_doubt_is_left_as_it_is(ready: Node, what: str, *, six: bool) -> None:
    verdict, before, after = throw(ready, "routed_in", "a", ODD[what](six))
    assert (verdict, after) == (LEAVE, before)


@SIX
def test_an_echo_is_handed_on(ready: Node, *, six: bool) -> None:
    """The control to the ICMP error."""
    echo = plain(six=six, protocol=UDP, source_port=0x8000 if six else 0x0800)
    assert throw(ready, "routed_in", "a", Thrown(echo, protocol=58 if six else ICMP))[0] == REDIRECT


@SIX
def test_an_unknown_neighbour_is_found_by_the_stack(ready: Node, *, six: bool) -> None:
    pod = (PODS6 if six else PODS)["b"]
    thrown = Thrown(plain(six=six))
    ready.network.run("node", "ip", "neighbour", "delete", pod, "dev", "b")
    forget_ways()
    try:
        verdict, before, after = throw(ready, "routed_in", "a", thrown)
    finally:
        know(ready, pod, "b", "b")
    assert (verdict, after) == (LEAVE, before)


@SIX
def test_a_device_that_is_not_known_is_left_to_the_stack(ready: Node, *, six: bool) -> None:
    ready.put("ways", (layout.IFINDEX.pack(ready.index_of("b")), b"\0"))
    forget_ways()
    assert throw(ready, "routed_in", "a", Thrown(plain(six=six)))[0] == LEAVE


@SIX
def test_another_route_is_taken_a_second_later(ready: Node, *, six: bool) -> None:
    """To another node it is by the uplink; then by pod b, as one that is a router would have it."""
    to, station = ("fd00:10:244:2::7", PODS6["b"]) if six else ("10.244.2.7", PODS["b"])
    thrown = Thrown(plain(six=six, to=to))
    assert throw(ready, "routed_in", "a", thrown)[2][:12] == frame(ready, "a", thrown)[:12], "the neighbour has its own"
    ready.network.run("node", "ip", "route", "add", to, "via", station, "dev", "b")
    try:
        forget_ways()
        verdict, _, after = throw(ready, "routed_in", "a", thrown)
    finally:
        ready.network.run("node", "ip", "route", "delete", to)
    assert (verdict, after[:6]) == (REDIRECT, mac(ready, "b", "eth0"))


@SIX
def test_the_length_of_each_packet_counts(ready: Node, *, six: bool) -> None:
    """Also where the way is known."""
    lengths = (10, 1000, 1500, 1300)
    verdicts = [throw(ready, "routed_in", "a", Thrown(plain(six=six, payload=bytes(n))))[0] for n in lengths]
    assert verdicts == [REDIRECT, REDIRECT, LEAVE, REDIRECT]


@SIX
def test_the_class_of_traffic_counts(ready: Node, *, six: bool) -> None:
    """Routes may depend on it."""
    family, ready_run = "-6" if six else "-4", ready.network.run
    ready_run("node", "ip", family, "rule", "add", "tos", "0x10", "unreachable")
    try:
        verdicts = [throw(ready, "routed_in", "a", Thrown(plain(six=six), tos=tos))[0] for tos in (0, 0x10, 0)]
    finally:
        ready_run("node", "ip", family, "rule", "delete", "tos", "0x10", "unreachable")
    assert verdicts == [REDIRECT, LEAVE, REDIRECT]


@SIX
def test_a_node_that_forwards_nothing_hands_nothing_on(ready: Node, *, six: bool) -> None:
    name = f"net.{'ipv6' if six else 'ipv4'}.conf.a.forwarding"
    ready.network.run("node", "sysctl", "-q", "-w", f"{name}=0")
    forget_ways()
    try:
        assert throw(ready, "routed_in", "a", Thrown(plain(six=six)))[0] == LEAVE
    finally:
        ready.network.run("node", "sysctl", "-q", "-w", f"{name}=1")


@SIX
@pytest.mark.parametrize("pod", ["b", "far"])
@pytest.mark.parametrize("hops", [64, 1])
def test_a_services_packet_in_doubt_is_translated_for_the_stack(ready: Node, pod: str, hops: int, *, six: bool) -> None:
    """Its destination where it comes in; its source where it leaves, as without host routing."""
    ready.sync({Frontend(ANY6 if six else ANY4, 32000, TCP): serving(pod, six=six)})
    client, node = (CLIENT6, NODE6) if six else (CLIENT, NODE)
    asked = plain(six=six, source=client, to=node, destination_port=32000)
    verdict, _, after = throw(ready, "uplink_in", "eth0", Thrown(asked, hops))
    (flow,) = ready.flows()
    masqueraded = pod == "far" and hops > 1
    expected = asked._replace(
        source=raw(node if masqueraded else client),
        source_port=flow.ports[3] if masqueraded else asked.source_port,
        destination=raw((PODS6 if six else PODS)[pod]),
        destination_port=8080,
    )
    assert verdict == (REDIRECT if hops > 1 else LEAVE)
    assert after[12:] == frame(ready, "eth0", Thrown(expected, hops - 1 or 1))[12:]


@SIX
def test_the_answer_is_translated_where_it_comes_in_or_where_it_leaves(ready: Node, *, six: bool) -> None:
    ready.sync({Frontend(ANY6 if six else ANY4, 32000, TCP): serving("b", six=six)})
    client, node = (CLIENT6, NODE6) if six else (CLIENT, NODE)
    throw(ready, "uplink_in", "eth0", Thrown(plain(six=six, source=client, to=node, destination_port=32000)))
    pod = (PODS6 if six else PODS)["b"]
    answer = plain(six=six, source=pod, to=client, source_port=8080, destination_port=4000, flags=SYN | ACK)
    expected = answer._replace(source=raw(node), source_port=32000)
    verdict, before, after = throw(ready, "routed_in", "b", Thrown(answer, 1))
    assert (verdict, after) == (LEAVE, before)
    verdict, _, after = throw(ready, "uplink_out", "eth0", Thrown(answer, 63))
    assert (verdict, after[12:]) == (LEAVE, frame(ready, "eth0", Thrown(expected, 63))[12:])
    verdict, _, after = throw(ready, "routed_in", "b", Thrown(answer))
    assert (verdict, after[12:]) == (REDIRECT, frame(ready, "eth0", Thrown(expected, 63))[12:])
