"""How a flow's state is named by what its sides have sent."""

from __future__ import annotations

import socket

import pytest

from socklb.tc import layout
from socklb.tc.flows import ACK, FIN, RST, SYN, state

HEARD = 128
TCP, UDP, SCTP, ICMP = socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_SCTP, socket.IPPROTO_ICMP


@pytest.mark.parametrize(
    ("protocol", "client", "server", "named"),
    [
        (TCP, SYN, 0, "opening"),
        (TCP, SYN, SYN | ACK, "opening"),
        (TCP, SYN | ACK, SYN | ACK, "established"),
        (TCP, SYN | ACK | FIN, SYN | ACK, "closing"),
        (TCP, SYN | ACK | FIN, SYN | ACK | FIN, "closed"),
        (TCP, SYN | ACK, SYN | ACK | RST, "reset"),
        (SCTP, SYN | ACK, ACK, "established"),
        (UDP, 0, 0, "unanswered"),
        (UDP, 0, 0 | HEARD, "answered"),
        (ICMP, 0, 0 | HEARD, "answered"),
    ],
)
def test_the_state_of_a_flow_has_a_name(protocol: int, client: int, server: int, named: str) -> None:
    flow = layout.unpack_flow(bytes([layout.LIVE]) + bytes(layout.FLOW.size - 1))
    assert flow
    sides = {"client_side": client | HEARD, "server_side": server and server | HEARD}
    assert state(flow._replace(protocol=protocol, **sides)) == named
