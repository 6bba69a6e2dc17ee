"""`socklb explain` of what no hook sees, compared with what the programs do to a packet (BPF_PROG_TEST_RUN)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import cast

import pytest

from socklb.datapath import layout, libbpf
from socklb.datapath.pins import Pins
from socklb.explain.asker import Asker
from socklb.explain.by_packets import by_packets
from socklb.explain.tables import KernelTables
from socklb.explain.trail import DROPPED, PASSED, REFUSED, TRANSLATED, Trail, Verdict
from socklb.model import (
    ANY4,
    ANY6,
    V4_PREFIX,
    Addresses,
    Backend,
    Difference,
    Frontend,
    Serving,
    address_text,
    pack_address,
)
from socklb.report import DeviceFacts
from socklb.tc.rtnetlink import way_to
from tests.packets.network import CLIENT, CLIENT6, NODE, NODE6, OTHER_NODE, PODS, PODS6
from tests.tc.translation.conftest import Node
from tests.tc.translation.naive import SCTP, TCP, UDP, Packet, build, run

ROUNDS, QUESTIONS = 12, 60
LEAVE, SHOT = -1, 2
SYN, RST, INIT = 2, 4, 1
VIPS = ("10.96.0.10", "10.96.0.11", "192.0.2.1", "fd00:10:96::a", "fd00:10:96::b", "2001:db8::1")
ASKED = (*VIPS, NODE, NODE6, OTHER_NODE, PODS["far"], PODS6["far"], "10.96.0.77", "192.0.2.77", "2001:db8::77")
PORTS = (80, 81, 31080)


class Sample:
    """Random tables and packets."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.ports = iter(range(2000, 60000))

    def tables(self) -> tuple[dict[Frontend, Serving], Addresses]:
        places = [*map(pack_address, VIPS), ANY4, ANY6]
        frontends = {
            Frontend(place, port, protocol): self.serving(six=not place.startswith(V4_PREFIX))
            for place in places
            for port in PORTS
            for protocol in (TCP, UDP, SCTP)
            if self.random.random() < 0.6
        }
        services, nodes, own = (
            frozenset(pack_address(ip) for ip in ips if self.random.random() < 0.8)
            for ips in (VIPS, (NODE, NODE6, OTHER_NODE), (NODE, NODE6))
        )
        return frontends, Addresses(services, nodes, own)

    def serving(self, *, six: bool) -> Serving:
        some, others = self.backends(six=six), self.backends(six=six)
        ranges = ("fd00:31::/64", "2001:db8:9::/48") if six else ("172.31.0.0/24", "10.0.0.0/8", "198.51.100.0/24")
        chance = self.random.random
        return Serving(
            some,
            affinity=100 * (chance() < 0.2),
            outside=others if chance() < 0.3 else None,
            sources=tuple(self.random.sample(ranges, 1)) if chance() < 0.3 else None,
        )

    def backends(self, *, six: bool) -> tuple[Backend, ...]:
        pods = list((PODS6 if six else PODS).values())
        count = self.random.choice((0, 1, 2, 2))
        return tuple(sorted(Backend(pack_address(ip), 8080) for ip in self.random.sample(pods, count)))

    def question(self, sources: tuple[str, str]) -> tuple[Frontend, Packet]:
        """Return what is asked for, and the packet that asks."""
        choose = self.random.choice
        address, port, protocol = choose(ASKED), choose(PORTS), choose((TCP, UDP, SCTP))
        there = pack_address(address)
        raw, source = (there[12:], sources[0]) if there.startswith(V4_PREFIX) else (there, sources[1])
        flags = {TCP: SYN, SCTP: INIT, UDP: 0}[protocol]
        packet = Packet(pack_address(source)[-len(raw) :], raw, protocol, next(self.ports), port, flags, b"?")
        return Frontend(there, port, protocol), packet


def met(node: Node, program: str, packet: Packet, ifindex: int) -> tuple[str, Backend]:
    """Return what a program makes of a packet, and where that goes."""
    verdict, frame = run(node.programs.fd(program), build(packet), ifindex)
    if verdict == SHOT:
        return DROPPED, Backend(b"", 0)
    six = len(packet.source) == 16
    protocol, end = (frame[20], 54) if six else (frame[23], 34)
    if protocol != packet.protocol or (protocol == TCP and frame[end + 13] & RST):
        return REFUSED, Backend(b"", 0)
    there = frame[38:54] if six else V4_PREFIX + frame[30:34]
    to = Backend(there, int.from_bytes(frame[end + 2 : end + 4], "big"))
    asked = Backend(packet.destination if six else V4_PREFIX + packet.destination, packet.destination_port)
    return (PASSED if to == asked else TRANSLATED), to


OUTSIDE = Asker("outside", outside=True, addresses=(pack_address(CLIENT), pack_address(CLIENT6)))
ON_NODE = Asker("on the node", here=True, addresses=(pack_address(NODE), pack_address(NODE6)))
IN_POD = Asker("in a pod", addresses=(pack_address(PODS["a"]), pack_address(PODS6["a"])))
ASKERS = {
    "outside": ("uplink_in", OUTSIDE, (CLIENT, CLIENT6)),
    "node": ("uplink_out", ON_NODE, (NODE, NODE6)),
    "pod": ("uplink_out", IN_POD, (PODS["a"], PODS6["a"])),
    "pod at its device": ("pod_in", IN_POD, (PODS["a"], PODS6["a"])),
}


@pytest.fixture
def inside(node: Node) -> Iterator[Node]:
    with node.network.inside("node"), node.pods_at("cni0"):
        yield node


@pytest.fixture
def served_pod(inside: Node) -> Iterator[int]:
    """The pod's device, where its packets are served."""
    device = inside.index_of("a")
    inside.put("pod_devices", (layout.ROW_INDEX.pack(device), b"\x01"))
    yield device
    libbpf.library().bpf_map_delete_elem(inside.programs.maps["pod_devices"], layout.ROW_INDEX.pack(device))


@pytest.mark.parametrize("who", ASKERS)
def test_any_packet_meets_what_was_explained(inside: Node, served_pod: int, who: str) -> None:
    node, sample, seen = inside, Sample(seed=7), Counter[str]()
    program, asker, sources = ASKERS[who]
    if program == "pod_in":
        asker = asker._replace(devices=(served_pod,))
    pins = cast("Pins", SimpleNamespace(maps=node.maps, tc_maps=node.maps, links=node.maps))
    eth0 = node.index_of("eth0")
    devices = [DeviceFacts("eth0", eth0)]
    node.unhooked()  # those of other tests
    for _ in range(ROUNDS):
        frontends, addresses = sample.tables()
        put, known = Difference(frontends).for_tables().put, node.tables.addresses
        gone = node.tables.frontends - put.keys()
        node.tables.apply(Difference(put, gone, addresses.without(known), known.without(addresses)))
        with closing(KernelTables(pins)) as tables:
            for _ in range(QUESTIONS):
                asked, packet = sample.question(sources)
                if program == "uplink_out" and way_to(asked.address).stays:
                    continue  # it never meets that device
                verdict = by_packets(tables, devices, asked, asker, Trail(), way_to)
                outcome, to = met(node, program, packet, served_pod if program == "pod_in" else eth0)
                if program == "uplink_out" and verdict.by == "pod_in":  # the agent is told, and puts it there
                    assert outcome == DROPPED
                    assert node.unhooked() == {address_text(asker.address(asked.address) or b"")}
                    outcome, to = met(node, "pod_in", packet, eth0)
                assert fits(verdict, outcome, to), f"{asked}: {verdict}, and it met {outcome} {to}"
                seen[verdict.outcome] += 1
    assert seen.keys() == {TRANSLATED, REFUSED, PASSED, DROPPED}
    assert min(seen.values()) > 20


def fits(verdict: Verdict, outcome: str, to: Backend) -> bool:
    return outcome == verdict.outcome and (outcome != TRANSLATED or to in verdict.backends)
