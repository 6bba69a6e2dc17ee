"""Frames of a VLAN that come by its parent device: they are the VLAN's own device's, which is an uplink or is not."""

from __future__ import annotations

import socket
import struct
import time

from socklb.serving import Serving
from tests.packets.network import CLIENT
from tests.tc.translation.conftest import Node, backends, frontend
from tests.tc.translation.naive import TCP, Packet, build
from tests.tc.translation.test_any_packet import EXTERNAL, SYN, raw

TAG = struct.pack("!HH", 0x8100, 7)


def send(node: Node, *frames: bytes) -> None:
    """Put frames on the wire from the client to the node."""
    to = bytes.fromhex(node.network.output("node", "cat", "/sys/class/net/eth0/address").replace(":", ""))
    with node.network.inside("client"), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind(("eth0", 0))
        for frame in frames:
            wire.send(to + frame[6:])


def test_a_tagged_frame_begins_no_flow_at_the_parent_device(node: Node) -> None:
    node.sync({frontend(EXTERNAL): Serving(backends("a"))})
    tagged, plain = (build(Packet(raw(CLIENT), raw(EXTERNAL), TCP, port, 80, SYN)) for port in (2001, 2002))
    send(node, tagged[:12] + TAG + tagged[12:], plain)
    end = time.monotonic() + 5
    while not node.flows():
        assert time.monotonic() < end, "the control"
        time.sleep(0.02)
    assert [flow.ports[0] for flow in node.flows()] == [2002]
