"""The datapath on a sub-cgroup with a BPF file system of its own; every test starts with empty tables."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from sandbox import BACKENDS4, BACKENDS6, PORT, Sandbox, running, serve

from socklb.datapath.layout import Backend, Difference, Frontend, pack_address
from socklb.datapath.node import NodeDatapath
from socklb.datapath.tables import Tables

ROOT = Path(__file__).parents[2]
SERVICE4, SERVICE6 = "10.96.0.10", "fd00:10:96::a"


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    place = Sandbox(f"socklb-test-{os.getpid()}")
    try:
        with running(place, serve):
            wait_for_servers(place)
            yield place
    finally:
        place.remove()


def wait_for_servers(place: Sandbox) -> None:
    def connect() -> None:
        for _ in range(500):
            try:
                socket.create_connection((BACKENDS6[-1], PORT), 1).close()
            except ConnectionRefusedError:
                continue
            return

    place.run(connect, hooked=False)


@pytest.fixture(scope="session")
def bpffs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("bpffs")
    subprocess.run(["mount", "-t", "bpf", "bpf", directory], check=True)
    yield directory
    subprocess.run(["umount", directory], check=True)


@pytest.fixture(scope="session")
def objects() -> Path:
    """The objects as they are shipped."""
    subprocess.run(["make", "-s", "-C", ROOT / "bpf"], check=True)
    return ROOT / "socklb" / "datapath"


@pytest.fixture
def both_objects(request: pytest.FixtureRequest, objects: Path, tmp_path: Path) -> Path:
    """The object that this kernel gets, and the one that kernels before 5.12 get."""
    name = getattr(request, "param", "socklb.bpf.o")
    shutil.copy(objects / name, tmp_path / "socklb.bpf.o")
    return tmp_path


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "tables" in metafunc.fixturenames and metafunc.module.__name__.endswith("test_translation"):
        metafunc.parametrize(
            "both_objects",
            ["socklb.bpf.o", "socklb-5.10.bpf.o"],
            ids=["slot table", "sk_storage alone"],
            indirect=True,
        )


@pytest.fixture
def datapath(sandbox: Sandbox, bpffs: Path, both_objects: Path) -> Iterator[NodeDatapath]:
    """The datapath attached to the sandbox's cgroup, gone after the test."""
    with NodeDatapath(bpffs, sandbox.cgroup, both_objects) as node:
        node.attach()
        yield node
    node.pins.remove()


@pytest.fixture
def tables(datapath: NodeDatapath) -> Tables:
    return datapath.tables


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Path]:
    """Compile the objects with other sizes."""

    def make(*defines: str) -> Path:
        target = tmp_path / "socklb.bpf.o"
        settings = (f"OUT={tmp_path}", f"DEFINES={' '.join(defines)}")
        subprocess.run(["make", "-s", "-C", ROOT / "bpf", *settings, target], check=True)
        return tmp_path

    return make


def backends(*addresses: str) -> tuple[Backend, ...]:
    return tuple(Backend(pack_address(address), PORT) for address in addresses)


def frontend(address: str, protocol: int = socket.IPPROTO_TCP, port: int = 80) -> Frontend:
    return Frontend(pack_address(address), port, protocol)


def web(addresses4: tuple[str, ...] = BACKENDS4[:2], addresses6: tuple[str, ...] = BACKENDS6[:2]) -> Difference:
    """A dual-stack Service on port 80, TCP and UDP."""
    put = {}
    for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
        put[frontend(SERVICE4, protocol)] = backends(*addresses4)
        put[frontend(SERVICE6, protocol)] = backends(*addresses6)
    return Difference(put=put, add_addresses=frozenset({pack_address(SERVICE4), pack_address(SERVICE6)}))
