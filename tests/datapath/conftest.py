"""The datapath on a sub-cgroup with a BPF file system of its own; every test starts with empty tables."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from socklb.datapath.node import NodeDatapath
from socklb.datapath.tables import Tables
from tests.datapath.sandbox import Sandbox, running, serve, wait_for_servers

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    place = Sandbox(f"socklb-test-{os.getpid()}")
    try:
        with running(place, serve):
            wait_for_servers(place)
            yield place
    finally:
        place.remove()


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
