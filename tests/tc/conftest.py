"""A node with one uplink to a client, in namespaces of their own, and programs that count what they see."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from rig.sandbox import mounted_bpffs
from socklb.datapath import libbpf
from socklb.datapath.libbpf import Program
from socklb.datapath.maps import RowTable
from socklb.tc.places import UPLINK
from tests.packets.network import CLIENT, NODE, Network

NAME = f"socklb-test-tc{os.getpid()}"


@pytest.fixture
def node() -> Iterator[Network]:
    """A namespace with nothing in it but lo; this thread is in it."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    place = Network(NAME)
    for name in ("node", "client"):
        subprocess.run(["ip", "netns", "add", place.of(name)], check=True)
    try:
        with place.inside("node"):
            yield place
    finally:
        for name in ("node", "client"):
            subprocess.run(["ip", "netns", "delete", place.of(name)], check=True)


@pytest.fixture
def eth0(node: Network) -> int:
    """The node's uplink to the client."""
    return uplink(node)


def uplink(node: Network) -> int:
    """Make it, also after it was deleted."""
    words = ["type", "veth", "peer", "name", "eth0", "netns", node.of("client")]
    subprocess.run(["ip", "link", "add", "name", "eth0", *words], check=True)
    for place, address in (("node", NODE), ("client", CLIENT)):
        node.run(place, "ip", "address", "add", f"{address}/24", "dev", "eth0")
        node.run(place, "ip", "link", "set", "eth0", "up")
    node.run("node", "ip", "route", "add", "default", "via", CLIENT)
    return int(Path("/proc/thread-self/net/dev_snmp6/eth0").read_text().split()[1])


@pytest.fixture(scope="session")
def bpffs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with mounted_bpffs(tmp_path_factory.mktemp("bpffs")) as directory:
        yield directory


@pytest.fixture(scope="session")
def objects() -> Path:
    """The objects as they are shipped."""
    root = Path(__file__).parents[2]
    subprocess.run(["make", "-s", "-C", root / "bpf"], check=True)
    return root / "socklb" / "datapath"


class Counting:
    """Programs under the names of ours, of one load; `seen` says how many packets each of them saw."""

    def __init__(self, path: Path, pin: Path) -> None:
        self._object = libbpf.Object.open(path)
        self._object.load()
        pin.mkdir(parents=True, exist_ok=True)
        (pin / "seen").unlink(missing_ok=True)
        libbpf.pin(self._object.maps(["seen"])["seen"], pin / "seen")
        self._seen = RowTable(pin, "seen", 8)
        self.programs: Mapping[str, Program] = {name: self._object.program(name) for name in sorted(UPLINK)}

    def seen(self) -> list[int]:
        return [self._seen.word(row, 0) for row in range(len(UPLINK))]

    def close(self) -> None:
        self._seen.close()
        self._object.close()


@pytest.fixture(scope="session")
def counting_object(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("objects") / "nothing.bpf.o"
    include = f"-I/usr/include/{platform.machine()}-linux-gnu"
    source = Path(__file__).with_name("nothing.bpf.c")
    subprocess.run(["clang", "-O2", "-g", "--target=bpf", include, "-c", source, "-o", out], check=True)
    return out


@pytest.fixture
def counting(counting_object: Path, bpffs: Path) -> Iterator[Counting]:
    with closing(Counting(counting_object, bpffs / "first")) as found:
        yield found


@pytest.fixture
def newer(counting_object: Path, bpffs: Path) -> Iterator[Counting]:
    """The same, as another version of socklb brings them."""
    with closing(Counting(counting_object, bpffs / "second")) as found:
        yield found
