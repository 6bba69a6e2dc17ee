"""The flows that the packet path translates, as the kernel has them now.

    for flow in flows(pins): ...

A flow that begins or ends while it is read is left out.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from socklb.datapath.maps import RowTable
from socklb.datapath.pins import Pins
from socklb.model import Backend
from socklb.tc import layout
from socklb.tc.layout import Flow

FIN, SYN, RST, ACK = 1, 2, 4, 16  # what a side has sent; for SCTP in terms of TCP
UNIT = (1 << 30) / 1e9  # seconds of `seen` and `begun`


class Shown(NamedTuple):
    """A flow: client, Service address, backend, and the address that the backend sees as its client (None: the client's
    own).

    plain: not to a Service, such as a pod's connection out of the cluster; Service address and backend are then the
    same.
    state: the name that conntrack would use. age, idle: seconds since its first and its last packet, as exact as
    `UNIT`.
    """

    protocol: int
    client: Backend
    frontend: Backend
    backend: Backend
    node: Backend | None
    plain: bool
    state: str
    age: float
    idle: float


def flows(pins: Pins) -> Iterator[Shown]:
    """Yield all flows; none if the packet path has no table.

    Raises:
        SocklbError: the table belongs to another version.
    """
    now = time.monotonic_ns() >> 30
    return (_shown(flow, now) for _, flow in live(pins.tc_maps))


def live(maps: Path) -> Iterator[tuple[int, Flow]]:
    """Yield the flows as they are in the table, with their rows.

    Raises:
        SocklbError: the table belongs to another version.
    """
    if not (maps / "flows").exists():
        return
    with closing(RowTable(maps, "flows", layout.FLOW.size)) as rows:
        for row in range(rows.capacity):
            if rows.word(row, 0) & 3 == layout.LIVE:
                flow = layout.unpack_flow(rows.read(row))
                if flow and rows.word(row, 0) == flow.state:
                    yield row, flow


def _shown(flow: Flow, now: int) -> Shown:
    addresses = (flow.client, flow.frontend, flow.backend, flow.node)
    client, frontend, backend, node = map(Backend, addresses, flow.ports)
    plain = flow.row == layout.NO_FRONTEND
    return Shown(
        flow.protocol,
        client,
        backend if plain else frontend,
        backend,
        node if any(flow.node) else None,
        plain,
        state(flow),
        *((now - then & 0xFFFFFFFF) * UNIT for then in (flow.begun, flow.seen)),
    )


def state(flow: Flow) -> str:
    """Return the state of a flow: see `time_of` in bpf/flows.h."""
    client, server = flow.client_side, flow.server_side
    if flow.protocol not in (socket.IPPROTO_TCP, socket.IPPROTO_SCTP):
        return "answered" if server else "unanswered"
    if (client | server) & RST:
        return "reset"
    if client & server & FIN:
        return "closed"
    if (client | server) & FIN:
        return "closing"
    return "established" if client & ACK and server & (SYN | ACK) else "opening"
