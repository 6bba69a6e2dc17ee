"""The datapath on a sub-cgroup with a BPF file system of its own; every test starts with empty tables.

Tests of what the datapath does share one that is loaded once (`datapath`, `tables`). Those that reload, remove or grow
it make their own, with `sandbox.cgroup`, `bpffs` and `objects`.
"""

from __future__ import annotations

import errno
import functools
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rig.agents import AgentUnderTest
from rig.sandbox import Sandbox, mounted_bpffs, running, serve, wait_for_servers
from socklb.datapath.node_datapath import OBJECT_FILES, NodeDatapath
from socklb.datapath.pins import Pins
from socklb.datapath.writer import MapWriter
from tests.datapath.loaded import LoadedOnce, skip_without

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _what_the_kernel_must_have(request: pytest.FixtureRequest) -> None:
    """Skip a test where the kernel lacks a feature that it is marked with: `@pytest.mark.needs(SET_ERRNO)`."""
    for marker in request.node.iter_markers("needs"):
        skip_without(*marker.args)


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


@pytest.fixture(scope="session")
def loaded(sandbox: Sandbox, objects: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedOnce]:
    with closing(LoadedOnce(tmp_path_factory.mktemp("loaded"), sandbox.cgroup, objects)) as found:
        yield found


@pytest.fixture
def object_file(loaded: LoadedOnce) -> str:
    """The object that this kernel gets; tests may be parametrized with those that older kernels get."""
    return loaded.best()


@pytest.fixture
def refusal(object_file: str) -> int:
    """The errno of a refused call: programs choose it from kernel 6.1 on.

    Before, it goes on untranslated for the packet path to refuse, of which the sandbox has none, nor a route.
    """
    return errno.ECONNREFUSED if object_file == OBJECT_FILES[0] else errno.ENETUNREACH


@pytest.fixture
def datapath(loaded: LoadedOnce, object_file: str) -> Iterator[NodeDatapath]:
    """The datapath attached to the sandbox's cgroup, with empty tables."""
    with loaded.attached(object_file) as node:
        yield node


@pytest.fixture
def tables(datapath: NodeDatapath) -> MapWriter:
    return datapath.tables


@pytest.fixture
def agent(sandbox: Sandbox, bpffs: Path, objects: Path, tmp_path: Path) -> Iterator[AgentUnderTest]:
    """An agent of the sandbox, not started yet."""
    found = AgentUnderTest(tmp_path, sandbox.cgroup, bpffs)
    yield found
    found.stop()
    Pins(bpffs).remove()


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Compile the object with other sizes, each choice once."""

    @functools.cache
    def make(*defines: str) -> Path:
        folder = tmp_path_factory.mktemp("built")
        settings = (f"OUT={folder}", f"DEFINES={' '.join(defines)}")
        subprocess.run(["make", "-s", "-B", "-C", ROOT / "bpf", *settings, folder / OBJECT_FILES[0]], check=True)
        return folder

    return make
