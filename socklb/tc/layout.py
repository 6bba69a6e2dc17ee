"""The byte layout of the structs in `bpf/types.h` that only the packet path uses, seen from Python.

`tests/tc/translation/test_objects.py` compares every size and offset here with the compiled object's BTF.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

MAPS = (
    "flow_index",
    "flows",
    "masquerade_filter",
    "pair_filter",
    "uplinks",
    "pod_devices",
    "ways",
    "packet_affinity",
    "fragments",
    "packet_counters",
    "unhooked",
    "works",
)
# What each has of a flow it has from its beginning on: of the same time, or wrong.
TOGETHER = ("flow_index", "flows", "pair_filter", "masquerade_filter", "packet_counters")
KNOWN_WAYS, MAX_KNOWN_WAYS = "known_ways", 1 << 12  # never pinned; this large only with host routing
TUPLE = struct.Struct("!16s16sHHBB2x")
FLOW = struct.Struct("=Q16s16s16s16sI4x16sIIIIBBBxBB10x")
PORTS = struct.Struct("!5H6x")
FREE, BUSY, LIVE = 0, 1, 2  # the two low bits of a flow's state
NO_FRONTEND = (1 << 32) - 1
REFLECTED, FROM_NODE, TO_RESET = 1, 2, 4  # flags of a flow
IFINDEX = struct.Struct("=I")
ANY_UPLINK = (1 << 32) - 1  # in place of an ifindex in `uplinks`: the addresses of any uplink
UPLINK = struct.Struct("=16s16s")
UNHOOKED = struct.Struct("=16sI4x")
TO_NEIGHBOUR, INTO_POD = 1, 2  # how a packet is handed on at a device
PACKET_FACTS = struct.Struct("=II")
COUNTERS = ("flows_begun", "flows_ended", "refused", "forbidden", "lost_no_room", "lost_no_port")
NOBODY = bytes(16)


class Flow(NamedTuple):
    """`struct flow`: addresses and ports of client, frontend and backend, and of the node if it is masqueraded.

    The fifth port is the client's between them.
    """

    state: int
    client: bytes
    frontend: bytes
    backend: bytes
    node: bytes
    at: int
    ports: tuple[int, int, int, int, int]
    seen: int
    begun: int
    row: int
    device: int
    protocol: int
    kinds: int
    flags: int
    client_side: int
    server_side: int


def unpack_flow(raw: bytes) -> Flow | None:
    """Read a row of `struct flow`; None if it holds no flow."""
    state, client, frontend, backend, node, at, ports, *rest = FLOW.unpack(raw)
    if state & 3 != LIVE:
        return None
    return Flow(state, client, frontend, backend, node, at, PORTS.unpack(ports), *rest)
