"""Bookkeeping never refuses: with every table of the hooks full, connections that have a backend succeed."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rig.sandbox import BACKENDS4, Sandbox, ask_udp, udp_client
from socklb.datapath import dump
from socklb.datapath.node_datapath import NodeDatapath
from socklb.model import Difference
from tests.datapath.services import SERVICE4, frontend, serving, web

HELD = 64


@pytest.fixture
def tiny(sandbox: Sandbox, bpffs: Path, build: Callable[..., Path]) -> Iterator[NodeDatapath]:
    """Room for two sockets, one client with affinity and one counted backend."""
    with NodeDatapath(bpffs, sandbox.cgroup, build("-DSOCKET_SLOTS=2", "-DMAX_CLIENTS=1", "-DMAX_LOADS=2")) as node:
        node.attach()
        yield node
    node.pins.remove()


def connect_many() -> tuple[set[str], set[str]]:
    """Hold many connections; give who answered and what getpeername() says."""
    clients = [socket.create_connection((SERVICE4, 80), 5) for _ in range(HELD)]
    return {client.recv(100).decode() for client in clients}, {client.getpeername()[0] for client in clients}


@pytest.mark.parametrize("options", [{}, {"affinity": 100}, {"least_loaded": True}], ids=["any", "affine", "counted"])
def test_every_connect_succeeds_and_sees_the_service(
    sandbox: Sandbox, tiny: NodeDatapath, options: dict[str, int]
) -> None:
    tiny.tables.apply(Difference(put={frontend(SERVICE4): serving(*BACKENDS4, **options)}))  # type: ignore[arg-type]
    answered, peers = sandbox.run(connect_many)
    assert answered <= set(BACKENDS4)
    assert peers == {SERVICE4}
    assert dump.bookkeeping(tiny.pins.maps).spilled >= HELD - 2


def test_datagrams_of_many_sockets_come_back_from_the_service(sandbox: Sandbox, tiny: NodeDatapath) -> None:
    tiny.tables.apply(web())

    def ask_from_many() -> set[str]:
        clients = [udp_client(SERVICE4) for _ in range(HELD)]
        return {ask_udp(client, SERVICE4, 80)[1] for client in clients * 2}

    assert sandbox.run(ask_from_many) == {f"{SERVICE4} 80"}


def test_a_table_with_room_spills_nothing(sandbox: Sandbox, datapath: NodeDatapath) -> None:
    datapath.tables.apply(web())
    sandbox.run(connect_many)
    assert dump.bookkeeping(datapath.pins.maps) == (0, 0)
