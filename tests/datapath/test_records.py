"""Every live socket knows its Service, also when there are more sockets than slots."""

from __future__ import annotations

import errno
import resource
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from rig.sandbox import BACKENDS4, BACKENDS6, Sandbox, udp_client
from socklb.datapath import dump
from socklb.datapath.node_datapath import NodeDatapath
from socklb.model import Difference
from tests.datapath.services import SERVICE4, SERVICE6, frontend, serving

SLOTS = 64
SOCKETS = 5 * SLOTS


def one_service_a_socket() -> Difference:
    """Every socket asks for a Service of its own, so that a mixed-up record would be seen."""
    udp, tcp = socket.IPPROTO_UDP, socket.IPPROTO_TCP
    put = {
        frontend(vip, protocol): serving(BACKENDS4[n % 8] if vip.startswith("10.") else BACKENDS6[n % 8])
        for n, vip in enumerate(services())
        for protocol in (tcp, udp)
    }
    return Difference(put=put)


def services() -> list[str]:
    return [f"10.96.{n >> 8}.{n & 255}" if n % 2 else f"fd00:10:96::{n:x}" for n in range(1, SOCKETS + 1)]


def used_slots(node: NodeDatapath) -> int:
    return next(
        fill.used for fill in dump.fill(node.pins.maps, dump.read_frontends(node.pins.maps)) if fill.name == "sockets"
    )


@pytest.fixture
def small(sandbox: Sandbox, bpffs: Path, build: Callable[..., Path]) -> NodeDatapath:
    with NodeDatapath(bpffs, sandbox.cgroup, build(f"-DSOCKET_SLOTS={SLOTS}")) as node:
        node.attach()
        node.tables.apply(one_service_a_socket())
        yield node
    node.pins.remove()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["TCP", "UDP"])
def test_more_live_sockets_than_slots_and_each_knows_its_service(
    sandbox: Sandbox, small: NodeDatapath, kind: int
) -> None:
    def open_all() -> tuple[list[str], int]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        clients = []
        for vip in services():
            client = socket.socket(socket.AF_INET6 if ":" in vip else socket.AF_INET, kind)
            client.connect((vip, 80))
            clients.append(client)
        return [client.getpeername()[0] for client in clients], used_slots(small)

    peers, used = sandbox.run(open_all)
    assert peers == services()
    assert 0 < used <= SLOTS < SOCKETS
    assert used_slots(small) == 0


def test_a_slot_is_given_back_when_its_socket_closes(sandbox: Sandbox, datapath: NodeDatapath) -> None:
    datapath.tables.apply(Difference(put={frontend(SERVICE4): serving(BACKENDS4[0])}))

    def open_and_close() -> list[int]:
        with socket.create_connection((SERVICE4, 80), 5):
            during = used_slots(datapath)
        return [during, used_slots(datapath)]

    assert sandbox.run(open_and_close) == [1, 0]


def test_a_socket_without_memory_for_its_record_is_served_all_the_same(
    sandbox: Sandbox, bpffs: Path, build: Callable[..., Path]
) -> None:
    """The only slot is taken, and the socket has used up what it may (optmem_max), so sk_storage fails too."""

    def connect() -> tuple[str, bool, str]:
        with udp_client(SERVICE6) as first, udp_client(SERVICE6) as client:
            first.connect((SERVICE6, 80))
            exhausted = exhaust_memory(client)
            client.connect((SERVICE6, 80))
            client.send(b"?")
            return client.recv(100).decode(), exhausted, client.getpeername()[0]

    with NodeDatapath(bpffs, sandbox.cgroup, build("-DSOCKET_SLOTS=1")) as node:
        node.attach()
        node.tables.apply(Difference(put={frontend(SERVICE6, socket.IPPROTO_UDP): serving(BACKENDS6[0])}))
        answer, exhausted, peer = sandbox.run(connect)
    node.pins.remove()
    assert exhausted
    assert answer == BACKENDS6[0]
    assert peer == BACKENDS6[0], "the record was kept after all: this test proves nothing"


def exhaust_memory(client: socket.socket) -> bool:
    """Join multicast groups on the loopback device until the socket's option memory is used up."""
    index = socket.if_nametoindex("lo")
    for n in range(1 << 16):
        group = socket.inet_pton(socket.AF_INET6, f"ff02::1:{n:x}") + struct.pack("=I", index)
        try:
            client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        except OSError as error:
            return error.errno in (errno.ENOMEM, errno.ENOBUFS)
    return False
