"""A larger number in the configuration takes effect at the agent's next start, and no client notices."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from socklb.datapath import barrier, growth, layout, libbpf
from socklb.datapath.maps import RowTable
from socklb.datapath.node import NodeDatapath
from socklb.datapath.sizes import Sizes
from socklb.serving import Difference
from tests.datapath.load import load
from tests.datapath.sandbox import BACKENDS4, Sandbox, ask_tcp, udp_client
from tests.datapath.services import SERVICE4, frontend, serving, web

SMALL, LARGE = Sizes(8, 16), Sizes(64, 100)
COUNTED, AFFINE = "10.96.0.20", "10.96.0.21"
OTHERS = {
    frontend(COUNTED): serving(*BACKENDS4[:2], least_loaded=True),
    frontend(AFFINE): serving(*BACKENDS4, affinity=100),
}


@pytest.fixture
def small(sandbox: Sandbox, bpffs: Path, objects: Path) -> Iterator[NodeDatapath]:
    with NodeDatapath(bpffs, sandbox.cgroup, objects, SMALL) as node:
        node.tables.apply(web())
        node.tables.apply(Difference(put=OTHERS))
        node.attach()
        yield node
    node.pins.remove()


def counted(node: NodeDatapath) -> int:
    with closing(RowTable(node.pins.maps, "loads", layout.LOAD.size)) as loads:
        return sum(word for (word,) in layout.LOAD.iter_unpack(loads.read(0, loads.capacity)))


def test_no_connect_fails_while_tables_grow(sandbox: Sandbox, bpffs: Path, objects: Path, small: NodeDatapath) -> None:
    small.pins.unlock()
    with load(sandbox, SERVICE4, clients=4) as running:
        for n in range(5):
            sizes = Sizes(LARGE.frontends + n, LARGE.backends + n)
            with NodeDatapath(bpffs, sandbox.cgroup, objects, sizes) as after:
                assert after.sizes == sizes
                assert after.tables.frontends == small.tables.frontends
                after.attach()
        with NodeDatapath(bpffs, sandbox.cgroup, objects, LARGE) as after:
            put = {frontend(f"10.97.0.{n}"): serving(*BACKENDS4[: 1 + n % 8]) for n in range(50)}
            after.tables.apply(Difference(put=put | web(BACKENDS4[4:6]).put))
            assert not after.tables.waiting
            after.attach()
            marker = running.mark()
    assert running.result.failed == []
    assert running.result.connects > 50
    assert running.result.backends <= set(BACKENDS4[:2] + BACKENDS4[4:6])
    assert running.result.backends_after(marker) <= set(BACKENDS4[4:6])
    assert [path.name for path in small.pins.root.iterdir()] == [small.pins.maps.parent.name]
    assert sorted(path.name for path in small.pins.maps.parent.iterdir()) == ["links", "maps"]


def test_live_sockets_keep_what_they_were_given(
    sandbox: Sandbox, bpffs: Path, objects: Path, small: NodeDatapath, tmp_path: Path
) -> None:
    grown = tmp_path / "grown"

    def live() -> tuple[str, str, str, str]:
        with socket.socket() as tcp, udp_client(SERVICE4) as udp:
            tcp.connect((COUNTED, 80))
            udp.sendto(b"?", (SERVICE4, 80))
            first = udp.recvfrom(64)[0].decode()
            affine = ask_tcp(AFFINE, 80)[0]
            (tmp_path / "ready").touch()
            end = time.monotonic() + 20
            while not grown.exists() and time.monotonic() < end:
                time.sleep(0.01)
            udp.sendto(b"?", (SERVICE4, 80))
            again, sender = udp.recvfrom(64)
            return (
                tcp.getpeername()[0],
                sender[0],
                str(again.decode() == first),
                str(ask_tcp(AFFINE, 80)[0] == affine),
            )

    small.pins.unlock()  # the process of the sockets would hold the lock too
    job = sandbox.start(live)
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    with NodeDatapath(bpffs, sandbox.cgroup, objects, LARGE) as after:
        after.attach()
        assert counted(after) == 1
        grown.touch()
        assert job.result() == (COUNTED, SERVICE4, "True", "True")
        assert counted(after) == 0


def test_an_agent_that_is_ended_half_way_leaves_whole_tables(
    sandbox: Sandbox, bpffs: Path, objects: Path, small: NodeDatapath, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.pins.unlock()

    with monkeypatch.context() as patched:
        patched.setattr(growth, "copy", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        patched.setattr(growth, "settle", lambda _: None)
        with pytest.raises(KeyboardInterrupt):
            NodeDatapath(bpffs, sandbox.cgroup, objects, LARGE)
    assert growth.place(small.pins.maps).exists()
    assert sandbox.run(lambda: ask_tcp(SERVICE4, 80))[0] in BACKENDS4[:2]
    with NodeDatapath(bpffs, sandbox.cgroup, objects, LARGE) as after:
        assert after.sizes == LARGE
        assert after.tables.frontends == small.tables.frontends


def test_new_tables_are_whole_if_an_agent_was_ended_between_two_renames(small: NodeDatapath) -> None:
    maps = small.pins.maps
    names = {path.name for path in maps.iterdir()}
    maps.rename(growth.place(maps))
    maps.mkdir()
    growth.settle(maps)
    assert {path.name for path in maps.iterdir()} == names
    assert not growth.place(maps).exists()


def test_tables_that_cannot_grow_serve_as_they_are(
    sandbox: Sandbox, bpffs: Path, objects: Path, small: NodeDatapath, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object) -> None:
        raise libbpf.BpfError("make a table", 12)

    small.pins.unlock()
    monkeypatch.setattr(growth, "copy", no_memory)
    with NodeDatapath(bpffs, sandbox.cgroup, objects, LARGE) as after:
        after.attach()
        assert after.sizes == SMALL
        assert sandbox.run(lambda: ask_tcp(SERVICE4, 80))[0] in BACKENDS4[:2]


class TestWaitingForReaders:
    @pytest.mark.parametrize(
        "offered", [0, barrier.GLOBAL_EXPEDITED, barrier.GLOBAL], ids=("none", "nohz_full", "one CPU")
    )
    def test_a_map_of_maps_waits_where_membarrier_does_not(self, monkeypatch: pytest.MonkeyPatch, offered: int) -> None:
        rested: list[float] = []
        monkeypatch.setattr(barrier, "_offered", lambda: offered)
        monkeypatch.setattr(barrier.os, "cpu_count", lambda: 1)
        monkeypatch.setattr(barrier.time, "sleep", rested.append)
        began = time.monotonic()
        for _ in range(3):
            barrier.wait_for_readers()
        assert time.monotonic() - began > 0.002, "three grace periods"
        assert not rested
        barrier.order_stores()

    def test_without_either_it_rests(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rested: list[float] = []

        def refused(*_: object) -> int:
            raise OSError(1, "refused")

        monkeypatch.setattr(barrier, "_membarrier", lambda _: -1)
        monkeypatch.setattr(barrier, "_maps", refused)
        monkeypatch.setattr(barrier.time, "sleep", rested.append)
        barrier.wait_for_readers()
        assert rested == [barrier.REST]
