"""Reset flows whose backend was removed, if their Service asks for it: each packet on them is answered with a reset.

    reset = reset_flows(programs, pins.tc_maps, is_gone)      # how many

A client that only waits sends nothing. So it is sent a SYN, which is unexpected whatever its sequence number, and which
it answers with the numbers that it expects (RFC 5961, section 4): that answer gets the reset.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from socklb.model import Backend, Frontend, address_text, is_ipv4
from socklb.tc import layout
from socklb.tc.flows import live
from socklb.tc.layout import Flow
from socklb.tc.played import syn
from socklb.tc.programs import Programs

IsGone = Callable[[Backend, Backend], bool]


def reset_flows(programs: Programs, maps: Path, is_gone: IsGone) -> int:
    """Reset the TCP flows for whose frontend and backend `is_gone` is true; return how many."""
    reset = [flow for row, flow in _of_services(maps) if is_gone(*_ends(flow)) and programs.reset(row, flow)]
    for flow in reset:
        with suppress(OSError):  # no route to it, or no such family
            _make_speak(Backend(flow.client, flow.ports[0]), Backend(flow.frontend, flow.ports[1]))
    return len(reset)


def _of_services(maps: Path) -> Iterator[tuple[int, Flow]]:
    for row, flow in live(maps):
        over = flow.flags & layout.TO_RESET
        if flow.protocol == socket.IPPROTO_TCP and flow.row != layout.NO_FRONTEND and not over:
            yield row, flow


def _ends(flow: Flow) -> tuple[Backend, Backend]:
    return Backend(flow.frontend, flow.ports[1]), Backend(flow.backend, flow.ports[2])


def _make_speak(client: Backend, frontend: Backend) -> None:
    family = socket.AF_INET if is_ipv4(client.address) else socket.AF_INET6
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(syn(frontend, Frontend(*client, socket.IPPROTO_TCP)), (address_text(client.address), 0))
