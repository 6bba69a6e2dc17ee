"""Sockets of the kernel itself, which no release hook sees close: they leave nothing behind, and are served as others.

MPTCP is the one that can be made anywhere: its subflows are the kernel's own.
"""

from __future__ import annotations

import ctypes as ct
import socket
from collections import Counter
from pathlib import Path

import pytest

from rig.sandbox import BACKENDS4, BACKENDS6, Sandbox
from socklb.datapath import kernel
from socklb.datapath.node_datapath import NodeDatapath
from socklb.model import Difference
from tests.datapath.services import SERVICE4, SERVICE6, frontend, serving
from tests.datapath.test_choice import loads, put
from tests.datapath.test_records import used_slots

IPPROTO_MPTCP = 262
FAMILIES = pytest.mark.parametrize(
    ("service", "backends"), [(SERVICE4, BACKENDS4), (SERVICE6, BACKENDS6)], ids=["IPv4", "IPv6"]
)


@pytest.fixture(autouse=True)
def _needs_mptcp() -> None:
    if not Path("/proc/sys/net/mptcp/enabled").exists():
        pytest.skip("this kernel has no MPTCP")


def mptcp(service: str) -> socket.socket:
    client = socket.socket(socket.AF_INET6 if ":" in service else socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    client.settimeout(5)
    client.connect((service, 80))
    return client


@FAMILIES
def test_they_leave_neither_a_slot_nor_a_count(
    sandbox: Sandbox, datapath: NodeDatapath, service: str, backends: tuple[str, ...]
) -> None:
    put(datapath.tables, *backends[:2], service=service, least_loaded=True)

    def connect() -> set[str]:
        answers = set[str]()
        for _ in range(500):
            with mptcp(service) as client:
                answers.add(client.recv(100).decode())
        return answers

    assert sandbox.run(connect) == set(backends[:2])
    assert used_slots(datapath) == 0
    assert sum(loads(datapath.pins.maps)) == 0


def test_one_that_was_closed_makes_no_backend_look_busy(sandbox: Sandbox, datapath: NodeDatapath) -> None:
    put(datapath.tables, *BACKENDS4[:2], least_loaded=True)

    def ask() -> list[str]:
        mptcp(SERVICE4).close()
        names: list[str] = []
        for _ in range(40):
            with socket.create_connection((SERVICE4, 80), 5) as client:
                names.append(client.recv(100).decode())
        return names

    assert min(Counter(sandbox.run(ask))[name] for name in BACKENDS4[:2]) > 5


@FAMILIES
def test_an_mptcp_socket_knows_its_service(
    sandbox: Sandbox, datapath: NodeDatapath, service: str, backends: tuple[str, ...]
) -> None:
    put(datapath.tables, backends[0], service=service)

    def ask() -> tuple[str, str]:
        with mptcp(service) as client:
            return client.recv(100).decode(), client.getpeername()[0]

    assert sandbox.run(ask) == (backends[0], service)


def test_one_that_connects_anew_past_all_services_is_forgotten(sandbox: Sandbox, datapath: NodeDatapath) -> None:
    """The backend by its own address is the backend, though it was the Service a moment ago."""
    datapath.tables.apply(Difference(put={frontend(SERVICE4): serving(BACKENDS4[0])}))

    def ask() -> str:
        with mptcp(SERVICE4) as client:
            client.recv(100)
            assert not ct.CDLL(None).connect(client.fileno(), bytes(16), 16)  # AF_UNSPEC
            client.connect((BACKENDS4[0], 8080))
            return client.getpeername()[0]

    assert sandbox.run(ask) == BACKENDS4[0]


def test_ordinary_sockets_have_slots_as_ever(sandbox: Sandbox, datapath: NodeDatapath) -> None:
    """The control: what is asked of the kernel says no for them."""
    put(datapath.tables, BACKENDS4[0], BACKENDS4[1], least_loaded=True)

    def connect() -> tuple[int, int]:
        held = [socket.create_connection((SERVICE4, 80), 5) for _ in range(20)]
        assert all(client.recv(100) for client in held)
        return used_slots(datapath), sum(loads(datapath.pins.maps))

    assert sandbox.run(connect) == (20, 20)


def test_this_kernel_says_where_it_marks_its_own() -> None:
    found = kernel.read()
    assert found.kern_sock_byte
    assert found.kern_sock_mask.bit_count() == 1


def test_a_kernel_that_says_nothing_is_served_all_the_same(tmp_path: Path) -> None:
    assert kernel.read(tmp_path / "none") == kernel.Kernel()
    locked = tmp_path / "lockdown"
    locked.write_text("none integrity [confidentiality]\n")
    assert kernel.read(lockdown=locked) == kernel.Kernel()
