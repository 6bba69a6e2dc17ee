"""The datapath on a sub-cgroup with a BPF file system of its own; every test starts with empty tables."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from socklb.datapath.node import OBJECT_FILES, NodeDatapath
from socklb.datapath.pins import Pins
from socklb.datapath.tables import Tables
from tests.datapath.agents import AgentUnderTest
from tests.datapath.sandbox import Sandbox, mounted_bpffs, running, serve, wait_for_servers

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    place = Sandbox(f"socklb-test-datapath-{os.getpid()}")
    try:
        with running(place, serve):
            wait_for_servers(place)
            yield place
    finally:
        place.remove()


@pytest.fixture(scope="session")
def bpffs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with mounted_bpffs(tmp_path_factory.mktemp("bpffs")) as directory:
        yield directory


@pytest.fixture(scope="session")
def objects() -> Path:
    """The objects as they are shipped."""
    subprocess.run(["make", "-s", "-C", ROOT / "bpf"], check=True)
    return ROOT / "socklb" / "datapath"


@pytest.fixture
def object_file() -> str:
    """The object that this kernel gets; tests may be parametrized with those that older kernels get."""
    return OBJECT_FILES[0]


@pytest.fixture
def refusal(object_file: str) -> int:
    """The errno of a refused call: programs choose it from kernel 6.1 on.

    Before, it goes on untranslated for the packet path to refuse, of which the sandbox has none, nor a route.
    """
    return errno.ECONNREFUSED if object_file == OBJECT_FILES[0] else errno.ENETUNREACH


@pytest.fixture
def datapath(sandbox: Sandbox, bpffs: Path, objects: Path, object_file: str, tmp_path: Path) -> Iterator[NodeDatapath]:
    """The datapath attached to the sandbox's cgroup, gone after the test."""
    shutil.copy(objects / object_file, tmp_path / OBJECT_FILES[0])
    with NodeDatapath(bpffs, sandbox.cgroup, tmp_path) as node:
        node.attach()
        yield node
    node.pins.remove()


@pytest.fixture
def tables(datapath: NodeDatapath) -> Tables:
    return datapath.tables


@pytest.fixture
def agent(sandbox: Sandbox, bpffs: Path, objects: Path, tmp_path: Path) -> Iterator[AgentUnderTest]:
    """An agent of the sandbox, not started yet."""
    found = AgentUnderTest(tmp_path, sandbox.cgroup, bpffs)
    yield found
    found.stop()
    Pins(bpffs).remove()


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Path]:
    """Compile the objects with other sizes."""

    def make(*defines: str) -> Path:
        target = tmp_path / "socklb.bpf.o"
        settings = (f"OUT={tmp_path}", f"DEFINES={' '.join(defines)}")
        subprocess.run(["make", "-s", "-B", "-C", ROOT / "bpf", *settings, target], check=True)
        return tmp_path

    return make
