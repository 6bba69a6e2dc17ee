"""Frames that come by an uplink and are not the node's own: of a VLAN, which has a device, or for another host."""

from __future__ import annotations

import select
import socket
import struct
import time

import pytest

from socklb.model import Serving
from tests.packets.network import CLIENT
from tests.tc.translation.conftest import Node, backends, frontend, mac
from tests.tc.translation.naive import TCP, Packet, build
from tests.tc.translation.test_any_packet import EXTERNAL, SYN, raw

TAG = struct.pack("!HH", 0x8100, 7)
ANOTHER = bytes.fromhex("0200000000aa")  # the address of a card that is not there
RESETS, PORTS = 14 + 20 + 13, 14 + 20  # where a frame has TCP's flags, and where its ports
RST = 4


def wire_of(node: Node) -> socket.socket:
    """Open the client's end of the wire, for whole frames."""
    with node.network.inside("client"):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        wire.bind(("eth0", 0))
    return wire


def syn(port: int) -> bytes:
    return build(Packet(raw(CLIENT), raw(EXTERNAL), TCP, port, 80, SYN))


def reset_port(wire: socket.socket) -> int:
    """Return the client's port of the first reset that comes."""
    end = time.monotonic() + 5
    while select.select([wire], [], [], max(0, end - time.monotonic()))[0]:
        frame, where = wire.recvfrom(2048)
        if (
            where[2] != socket.PACKET_OUTGOING
            and frame[12:14] == b"\x08\0"
            and frame[23] == TCP
            and frame[RESETS] & RST
        ):
            return int(struct.unpack_from("!H", frame, PORTS + 2)[0])
    pytest.fail("no reset came")


def test_a_tagged_frame_begins_no_flow_at_the_parent_device(node: Node) -> None:
    node.sync({frontend(EXTERNAL): Serving(backends("a"))})
    tagged, plain = syn(2001), syn(2002)
    with wire_of(node) as wire:
        for frame in (tagged[:12] + TAG + tagged[12:], plain):
            wire.send(mac(node, "node", "eth0") + frame[6:])
    end = time.monotonic() + 5
    while not node.flows():
        assert time.monotonic() < end, "the control"
        time.sleep(0.02)
    assert [flow.ports[0] for flow in node.flows()] == [2002]


def test_what_another_host_is_asked_is_not_refused(node: Node) -> None:
    """A switch floods frames, and the device of a node that looks at all of them lets them in."""
    node.sync({frontend(EXTERNAL): Serving(())})
    node.network.run("node", "ip", "link", "set", "dev", "eth0", "promisc", "on")
    try:
        with wire_of(node) as wire:
            for to, port in ((ANOTHER, 2001), (mac(node, "node", "eth0"), 2002)):
                wire.send(to + syn(port)[6:])
            assert reset_port(wire) == 2002
    finally:
        node.network.run("node", "ip", "link", "set", "dev", "eth0", "promisc", "off")
