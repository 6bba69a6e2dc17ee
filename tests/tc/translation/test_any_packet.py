"""Packets at random, thrown at the programs and at a naive translator beside them (BPF_PROG_TEST_RUN)."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest

from socklb.model import Backend, Frontend, Serving, pack_address
from tests.packets.network import CLIENT, CLIENT6, NODE, NODE6, PODS, PODS6
from tests.tc.translation.conftest import Node
from tests.tc.translation.naive import SCTP, TCP, UDP, Packet, build, run

LEAVE, DROP = -1, 2
FIN, SYN, ACK = 1, 2, 16
INIT, SHUTDOWN = 1, 7
EXTERNAL, EXTERNAL6 = "192.0.2.1", "2001:db8::1"
PORTS = {80: 8080, 81: 81}  # of Services and their backends
End = tuple[bytes, int]


class Translator:
    """What becomes of a packet: known flows by place, protocol and ends, as they were when they began."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, int, End, End], tuple[End, End]] = {}
        self.closed: set[tuple[int, End, End]] = set()

    def translated(self, place: int, packet: Packet) -> Packet | None:
        found = self.known.get((place, packet.protocol, *ends_of(packet)))
        return found and with_ends(packet, *found)

    def forget_closed(self, packet: Packet) -> None:
        """A connection that begins after another was closed is a new one."""
        client, asked = ends_of(packet)
        if (packet.protocol, client, asked) in self.closed:
            self.closed.remove((packet.protocol, client, asked))
            _, backend = self.known.pop((0, packet.protocol, client, asked))
            del self.known[1, packet.protocol, backend, client]


def ends_of(packet: Packet) -> tuple[End, End]:
    return (packet.source, packet.source_port), (packet.destination, packet.destination_port)


def with_ends(packet: Packet, source: End, destination: End) -> Packet:
    return packet._replace(
        source=source[0], source_port=source[1], destination=destination[0], destination_port=destination[1]
    )


def raw(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


class Trial:
    """One stream of random packets."""

    def __init__(self, node: Node, seed: int) -> None:
        self.random, self.node, self.translator = random.Random(seed), node, Translator()
        self.ifindex = node.index_of("eth0")

    def throw(self, program: str, packet: Packet) -> tuple[int, bytes]:
        return run(self.node.programs.fd(program), build(packet), self.ifindex)

    def a_packet(self) -> Packet:
        """From a client to an address and port that may be a Service's."""
        choose, six = self.random.choice, self.random.random() < 0.5
        protocol = choose((TCP, UDP, SCTP))
        flags = (
            choose((INIT, INIT, INIT, 0, SHUTDOWN))
            if protocol == SCTP
            else choose((SYN, SYN, ACK, SYN | ACK, FIN | ACK, 0))
        )
        return Packet(
            raw(CLIENT6 if six else CLIENT),
            raw(choose((EXTERNAL6, NODE6) if six else (EXTERNAL, EXTERNAL, NODE))),
            protocol,
            self.random.randrange(2000, 2040),
            choose((80, 81, 82)),
            flags,
            self.random.randbytes(self.random.randrange(80)),
            options=b"\x01" * (choose((0, 0, 4, 40)) if not six else choose((0, 0, 8, 32))),
            without_checksum=not six and protocol == UDP and self.random.random() < 0.2,
        )

    def step(self) -> None:
        packet = self.a_packet()
        verdict, after = self.throw("uplink_in", packet)
        if self.is_first(packet):
            self.translator.forget_closed(packet)
        expected = self.translator.translated(0, packet)
        if expected and (packet.protocol, packet.flags) in ((TCP, FIN | ACK), (SCTP, SHUTDOWN)):
            self.translator.closed.add((packet.protocol, *ends_of(packet)))
        if expected is None and self.begins(packet):
            expected = self.learn(packet, after)
        assert (verdict, after) == (LEAVE, build(expected or packet))
        if expected:
            self.answer(packet, expected)

    @staticmethod
    def is_first(packet: Packet) -> bool:
        return {TCP: packet.flags == SYN, SCTP: packet.flags == INIT, UDP: True}[packet.protocol]

    def begins(self, packet: Packet) -> bool:
        external = packet.destination in (raw(EXTERNAL), raw(EXTERNAL6))
        return external and packet.destination_port in PORTS and self.is_first(packet)

    def learn(self, packet: Packet, after: bytes) -> Packet:
        """See which backend was chosen: one of the Service's."""
        for pod in ("a", "far"):
            there = raw((PODS6 if len(packet.source) == 16 else PODS)[pod])
            client, asked = ends_of(packet)
            backend = (there, PORTS[packet.destination_port])
            expected = with_ends(packet, client, backend)
            if after != build(expected):
                continue
            known, protocol = self.translator.known, packet.protocol
            known[0, protocol, client, asked] = client, backend
            known[1, protocol, backend, client] = asked, client
            return expected
        pytest.fail(f"{packet} became {after.hex()}")

    def answer(self, packet: Packet, at_backend: Packet) -> None:
        """The packet leaves the node if its backend is elsewhere, and the backend answers."""
        reply = at_backend._replace(flags=ACK if packet.protocol == TCP else 0, options=b"", without_checksum=False)
        ends = ends_of(at_backend)
        if at_backend.destination in (raw(PODS["far"]), raw(PODS6["far"])):
            verdict, out = self.throw("uplink_out", at_backend)
            node = raw(NODE6 if len(packet.source) == 16 else NODE), self.port_of(at_backend, out)
            assert (verdict, out) == (LEAVE, build(with_ends(at_backend, node, ends[1])))
            assert not 30000 <= node[1] < 61000
            back = with_ends(reply, ends[1], node)
            assert self.throw("uplink_in", back) == (LEAVE, build(with_ends(reply, ends[1], ends[0])))
        back = with_ends(reply, ends[1], ends[0])
        expected = self.translator.translated(1, back)
        assert expected
        assert self.throw("uplink_out", back) == (LEAVE, build(expected))

    @staticmethod
    def port_of(packet: Packet, frame: bytes) -> int:
        at = 14 + (40 if len(packet.source) == 16 else 20) + len(packet.options)
        return int.from_bytes(frame[at : at + 2], "big")


@pytest.fixture
def trial_node(node: Node) -> Iterator[Node]:
    frontends = {}
    for address, pods in ((EXTERNAL, PODS), (EXTERNAL6, PODS6)):
        for protocol in (TCP, UDP, SCTP):
            for port, target in PORTS.items():
                backends = tuple(Backend(pack_address(pods[pod]), target) for pod in ("a", "far"))
                frontends[Frontend(pack_address(address), port, protocol)] = Serving(backends)
    node.sync(frontends)
    with node.network.inside("node"):
        yield node


@pytest.mark.parametrize("seed", range(4))
def test_any_packet_becomes_what_a_naive_translator_makes_of_it(trial_node: Node, seed: int) -> None:
    trial = Trial(trial_node, seed)
    for _ in range(500):
        trial.step()
    assert len(trial.translator.known) > 100


FAMILIES = pytest.mark.parametrize(("client", "service"), [(CLIENT, EXTERNAL), (CLIENT6, EXTERNAL6)])


@FAMILIES
@pytest.mark.parametrize(("protocol", "port"), [(UDP, 80), (SCTP, 81)])
def test_fragments_in_order_are_translated_and_a_later_one_alone_is_not(
    trial_node: Node, client: str, service: str, protocol: int, port: int
) -> None:
    trial = Trial(trial_node, 1)
    whole = Packet(raw(client), raw(service), protocol, 2100, port, INIT, payload=bytes(range(256)) * 8)
    later = whole._replace(cut=slice(1024, 2056))
    assert trial.throw("uplink_in", later) == (LEAVE, build(later))
    first = whole._replace(cut=slice(0, 1024))
    verdict, after = trial.throw("uplink_in", first)
    assert verdict == LEAVE
    expected = trial.learn(first, after)
    assert trial.throw("uplink_in", later) == (LEAVE, build(expected._replace(cut=later.cut)))


@FAMILIES
def test_a_fragment_whose_checksum_would_have_to_be_made_of_the_whole_is_lost(
    trial_node: Node, client: str, service: str
) -> None:
    """SCTP's, where the backend has another port: its CRC depends on how much follows."""
    trial = Trial(trial_node, 1)
    whole = Packet(raw(client), raw(service), SCTP, 2100, 80, INIT, payload=bytes(2048))
    assert trial.throw("uplink_in", whole._replace(cut=slice(0, 1024)))[0] == DROP
