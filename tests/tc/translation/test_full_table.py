"""A table of flows that is full, and ports that are taken: nobody loses what he has."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

from socklb.datapath import layout
from socklb.model import Addresses, Backend, Serving, pack_address
from tests.packets.network import CLIENT, NODE, PODS
from tests.tc.translation.conftest import MAX_FLOWS, Ask, Node, frontend
from tests.tc.translation.naive import TCP, UDP, Packet, build, run

EXTERNAL = "192.0.2.1"
DROP = 2
PAIRS = 1 << 19  # as in bpf/packet_maps.h
FIN, SYN, ACK = 1, 2, 16
HOLDER = """
import socket, sys
holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
holder.bind(("", int(sys.argv[1])))
print("ready", flush=True)
holder.recv(1)
"""


@pytest.fixture
def inside(node: Node) -> Iterator[Node]:
    node.sync({frontend(EXTERNAL, 80, protocol): Serving((backend(),)) for protocol in (TCP, UDP)})
    with node.network.inside("node"):
        yield node


def backend() -> Backend:
    return Backend(pack_address(PODS["a"]), 8080)


def packet(number: int, protocol: int = TCP, flags: int = SYN) -> Packet:
    source = socket.inet_aton(f"198.51.{number >> 14}.1")
    return Packet(source, socket.inet_aton(EXTERNAL), protocol, 1024 + (number & 0x3FFF), 80, flags)


def throw(node: Node, one: Packet) -> tuple[int, bool]:
    """Return the verdict, and whether the packet was translated."""
    verdict, after = run(node.programs.fd("uplink_in"), build(one), node.index_of("eth0"))
    return verdict, after != build(one)


def fill(node: Node, protocol: int) -> list[int]:
    """Begin flows until the table refuses one more; give those that it has."""
    index, uplink_in = node.index_of("eth0"), node.programs.fd("uplink_in")
    return [n for n in range(8 * MAX_FLOWS) if run(uplink_in, build(packet(n, protocol)), index)[0] != DROP]


def test_a_full_table_refuses_the_new_and_keeps_the_old(inside: Node) -> None:
    before = inside.counters()["lost_no_room"]
    had = fill(inside, UDP)
    assert len(inside.flows()) == len(had) == MAX_FLOWS
    assert inside.counters()["lost_no_room"] - before == 7 * MAX_FLOWS
    assert {throw(inside, packet(n, UDP)) for n in had} == {(-1, True)}
    inside.age(40)
    assert throw(inside, packet(100_000, UDP)) == (-1, True)


def test_who_asks_a_pod_itself_comes_through_a_full_table(inside: Node) -> None:
    fill(inside, UDP)
    asked = packet(100_000, UDP)._replace(destination=socket.inet_aton(PODS["a"]))
    lost = inside.counters()["lost_no_room"]
    assert throw(inside, asked) == (-1, False)
    assert inside.counters()["lost_no_room"] == lost + 1, "its answer will be the node's"


def test_what_is_closed_makes_room_before_its_time(inside: Node) -> None:
    had = fill(inside, TCP)
    assert throw(inside, packet(100_000)) == (DROP, False)
    for number in had[: MAX_FLOWS // 2]:
        throw(inside, packet(number, TCP, FIN | ACK))
    assert throw(inside, packet(100_000)) == (-1, True)
    assert {throw(inside, packet(n, TCP, ACK)) for n in had[MAX_FLOWS // 2 :]} == {(-1, True)}
    assert len(inside.index()) == 2 * MAX_FLOWS


def test_what_is_closed_is_not_counted_as_used_from_the_next_sweep_on(inside: Node) -> None:
    before = inside.programs.used  # of tests before: they emptied the table behind its back
    had = fill(inside, TCP)
    inside.programs.sweep()
    assert inside.programs.used - before == MAX_FLOWS
    for number in had[: MAX_FLOWS // 2]:
        throw(inside, packet(number, TCP, FIN | ACK))
    assert inside.programs.sweep() == 0, "their time is not over: this test proves nothing"
    assert inside.programs.used - before == MAX_FLOWS // 2
    assert throw(inside, packet(100_000)) == (-1, True)
    inside.programs.sweep()
    assert inside.programs.used - before == MAX_FLOWS // 2 + 1


def test_what_goes_out_is_looked_up_only_between_addresses_that_have_a_flow(inside: Node) -> None:
    index, uplink_out = inside.index_of("eth0"), inside.programs.fd("uplink_out")
    asked = packet(1)
    assert throw(inside, asked) == (-1, True)
    answer = build(Packet(socket.inet_aton(PODS["a"]), asked.source, TCP, 8080, asked.source_port, SYN | ACK))
    assert run(uplink_out, answer, index)[1] != answer
    inside.put("pair_filter", *((layout.ROW_INDEX.pack(row), bytes(64)) for row in range(PAIRS // 64)))
    assert run(uplink_out, answer, index) == (-1, answer)
    assert throw(inside, packet(1 + 0x4000)) == (-1, True)
    assert run(uplink_out, answer, index) == (-1, answer)
    assert throw(inside, packet(2)) == (-1, True)
    assert run(uplink_out, answer, index)[1] != answer


def test_marks_that_somebody_took_away_are_made_again_for_flows_that_live(inside: Node) -> None:
    index, uplink_in, uplink_out = inside.index_of("eth0"), *map(inside.programs.fd, ("uplink_in", "uplink_out"))
    far = Serving((Backend(pack_address(PODS["far"]), 8080),))
    inside.sync({frontend(EXTERNAL): far}, Addresses())  # the uplink's address is none of the Node's
    asked = packet(1)
    assert throw(inside, asked) == (-1, True)
    (flow,) = inside.flows()
    pod, node = (socket.inet_aton(address) for address in (PODS["far"], NODE))
    ways = [
        (uplink_out, build(Packet(asked.source, pod, TCP, flow.ports[4], 8080, SYN))),
        (uplink_in, build(Packet(pod, node, TCP, 8080, flow.ports[3], SYN | ACK))),
    ]
    inside.put("pair_filter", *((layout.ROW_INDEX.pack(row), bytes(64)) for row in range(PAIRS // 64)))
    inside.put("masquerade_filter", *((layout.ROW_INDEX.pack(row), bytes(8)) for row in range(1 << 10)))
    assert [run(program, one, index)[1] == one for program, one in ways] == [True, True]
    inside.programs.sweep()
    assert [run(program, one, index)[1] == one for program, one in ways] == [False, False]


def test_a_port_of_the_nodes_own_socket_is_no_pods(node: Node, ask: Ask) -> None:
    node.sync({})
    holder = node.network.start("node", sys.executable, "-c", HOLDER, "7009", ready="ready")
    assert ask("a", CLIENT, 9, "udp", own=7009) == ["ECONNREFUSED"]
    (flow,) = node.flows()
    assert (flow.node, flow.ports[0]) == (pack_address(NODE), 7009)
    assert flow.ports[3] != 7009
    holder.kill()
