"""A larger number in the configuration takes effect at the agent's next start, and no client notices."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs

from rig.agents import AgentUnderTest, endpoint_slice, service
from rig.sandbox import BACKENDS4, Job, Sandbox, ask_tcp, udp_client
from socklb.agent.agent import Agent
from socklb.api.manifests import ManifestFolder
from socklb.config import Config
from socklb.datapath import barrier, dump, growth, layout, libbpf
from socklb.datapath.maps import RowTable
from socklb.datapath.node_datapath import NodeDatapath
from socklb.datapath.room import Room
from socklb.datapath.sizes import Sizes
from socklb.datapath.writer import MapWriter
from socklb.model import Addresses, Difference, pack_address
from socklb.report import Report
from tests.datapath.load import load
from tests.datapath.services import SERVICE4, frontend, serving, web
from tests.datapath.test_supervision import running
from tests.support.waiting import until as wait_until
from tests.unit.agent.shapes import manifest

SMALL, LARGE = Sizes(8, 16), Sizes(64, 100)
COUNTED, AFFINE = "10.96.0.20", "10.96.0.21"
OTHERS = {
    frontend(COUNTED): serving(*BACKENDS4[:2], least_loaded=True),
    frontend(AFFINE): serving(*BACKENDS4, affinity=100),
}
MANY = {frontend(f"10.97.0.{n}"): serving(*BACKENDS4[: 1 + n % 8]) for n in range(50)}


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


def test_a_table_without_its_pin_grows_with_the_others(sandbox: Sandbox, small: NodeDatapath, tmp_path: Path) -> None:
    def live() -> str:
        with socket.socket() as tcp:
            tcp.connect((COUNTED, 80))
            (tmp_path / "ready").touch()
            wait_until((tmp_path / "grown").exists)
            return str(tcp.getpeername()[0])

    small.pins.unlock()  # the process of the socket would hold the lock too
    job = sandbox.start(live)
    wait_until((tmp_path / "ready").exists)
    for name in ("sockets", "frontends", "loads"):
        (small.pins.maps / name).unlink()
    small.grow(LARGE)
    assert counted(small) == 1
    (tmp_path / "grown").touch()
    assert job.result() == COUNTED
    assert counted(small) == 0


def test_an_agent_that_is_ended_half_way_leaves_whole_tables(
    sandbox: Sandbox, bpffs: Path, objects: Path, small: NodeDatapath, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.pins.unlock()

    with monkeypatch.context() as patched:
        patched.setattr(growth, "Copy", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
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
    monkeypatch.setattr(growth, "Copy", no_memory)
    with NodeDatapath(bpffs, sandbox.cgroup, objects, LARGE) as after:
        after.attach()
        assert after.sizes == SMALL
        assert sandbox.run(lambda: ask_tcp(SERVICE4, 80))[0] in BACKENDS4[:2]


class TestByThemselves:
    """Tables that are full grow while they serve, up to what is allowed."""

    @pytest.fixture
    def node(self, sandbox: Sandbox, bpffs: Path, objects: Path) -> Iterator[NodeDatapath]:
        with NodeDatapath(bpffs, sandbox.cgroup, objects, SMALL, most=LARGE) as node:
            node.tables.apply(web())
            node.tables.apply(Difference(put=OTHERS))
            node.attach()
            yield node
        node.pins.remove()

    def test_no_connect_fails_and_all_that_waited_is_served(
        self, sandbox: Sandbox, node: NodeDatapath, caplog: pytest.LogCaptureFixture
    ) -> None:
        room, addresses = Room(node), frozenset(f.address for f in MANY)
        room.make()
        assert node.sizes == SMALL, "nothing waits"
        with load(sandbox, SERVICE4, clients=4) as running, caplog.at_level(logging.INFO):
            node.tables.apply(Difference(put=MANY, add=Addresses(services=addresses)))
            assert node.tables.waiting
            room.make()
            assert node.sizes == Sizes(64, 64)
            assert not node.tables.waiting
            assert not node.tables.addresses_waiting
            node.tables.apply(web(BACKENDS4[4:6]))
            marker = running.mark()
        assert running.result.failed == []
        assert running.result.backends_after(marker) <= set(BACKENDS4[4:6])
        assert "the tables have grown: room for 64 frontends and 64 backends" in caplog.text
        assert dump.read_frontends(node.pins.maps) == {**MANY, **OTHERS, **web(BACKENDS4[4:6]).put}
        assert node.keeper.damage() == {}
        assert sandbox.run(lambda: ask_tcp("10.97.0.49", 80))[0] in BACKENDS4[:2]

    def test_source_ranges_that_waited_are_there(self, node: NodeDatapath) -> None:
        asked, ranges = frontend(AFFINE), tuple(f"10.0.{n}.0/24" for n in range(20))
        networks = {(pack_address("10.244.0.0"), 112): layout.POD_NETWORK}
        node.tables.apply(Difference({asked: serving(BACKENDS4[0])._replace(sources=ranges)}))
        node.tables.networks.set(networks)
        assert node.tables.ranges_waiting == 12
        Room(node).make()
        assert node.sizes.frontends == 32
        assert node.tables.ranges_waiting == 0
        found = {fill.name: fill.used for fill in dump.fill(node.pins.maps, {})}
        assert (found["source_ranges"], found["networks"]) == (20, 1)
        with closing(MapWriter(node.pins.maps)) as after:
            after.apply(Difference({asked: serving(BACKENDS4[0])}))
        assert "source_ranges" not in {fill.name for fill in dump.fill(node.pins.maps, {}) if fill.used}

    def test_they_end_where_the_configuration_says(self, node: NodeDatapath) -> None:
        put = {frontend(f"10.97.1.{n}"): serving(BACKENDS4[0]) for n in range(100)}
        node.tables.apply(Difference(put=put))
        Room(node).make()
        assert node.sizes.frontends == LARGE.frontends
        assert len(node.tables.waiting) == len(put) + len(web().put) + len(OTHERS) - LARGE.frontends

    def test_counts_and_clients_go_along(self, sandbox: Sandbox, node: NodeDatapath, tmp_path: Path) -> None:
        """Connections that old programs counted after the copy was made, too."""
        held = self.holding(sandbox, tmp_path / "before")
        made = growth.Copy.__init__
        late: list[Job] = []

        def then_connect(copy: growth.Copy, maps: Path, growing: Path) -> None:
            made(copy, maps, growing)
            late.append(self.holding(sandbox, tmp_path / "late"))

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(growth.Copy, "__init__", then_connect)
            node.tables.apply(Difference(put=MANY))
            Room(node).make()
        assert node.sizes.backends > SMALL.backends
        assert counted(node) == 2
        (tmp_path / "before").with_suffix(".end").touch()
        (tmp_path / "late").with_suffix(".end").touch()
        given = [job.result() for job in (held, *late)]
        assert counted(node) == 0
        assert {sandbox.run(lambda: ask_tcp(AFFINE, 80)[0]) for _ in range(8)} == {given[0][1]}

    @staticmethod
    def holding(sandbox: Sandbox, mark: Path) -> Job:
        """Have a connection that is counted, until `mark`.end is there; and ask where this client is remembered."""

        def hold() -> tuple[str, str]:
            with socket.create_connection((COUNTED, 80)) as tcp:
                given = ask_tcp(AFFINE, 80)[0]
                mark.touch()
                end = time.monotonic() + 20
                while not mark.with_suffix(".end").exists() and time.monotonic() < end:
                    time.sleep(0.01)
                return tcp.getpeername()[0], given

        job = sandbox.start(hold)
        while not mark.exists():
            time.sleep(0.01)
        return job

    def test_what_is_lent_meanwhile_stays_and_goes(self, node: NodeDatapath) -> None:
        own = frontend("127.0.0.1", socket.IPPROTO_UDP, 9)
        with node.tables.lent({own: serving(BACKENDS4[0])}) as fits:
            assert fits
            node.grow(LARGE)
            assert node.tables.serving(own)
            assert own not in node.tables.frontends
        assert node.tables.serving(own) is None

    def test_a_refusal_is_told_and_what_is_there_serves(
        self, sandbox: Sandbox, node: NodeDatapath, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_memory(*_: object) -> None:
            raise libbpf.BpfError("make a table", 12)

        room = Room(node)
        node.tables.apply(Difference(put=MANY))
        with monkeypatch.context() as patched:
            patched.setattr(growth, "Copy", no_memory)
            room.make()
        assert room.refusal.startswith("the tables cannot grow to 64 frontends and 64 backends: ")
        assert node.sizes == SMALL
        assert sandbox.run(lambda: ask_tcp(SERVICE4, 80))[0] in BACKENDS4[:2]
        room.make()
        assert room.refusal, "it is tried again after a while"


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


def test_an_agent_has_them_grow_and_says_what_they_may_grow_to(
    sandbox: Sandbox, bpffs: Path, objects: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    services = [service(f"s{n}", f"10.96.1.{n}") for n in range(6)]
    (folder / "web.yaml").write_text(manifest(*services, endpoint_slice("s5-4", *BACKENDS4[:2])))
    config = Config(node="w1", manifests=str(folder), packet_path=False, socket=str(tmp_path / "agent.sock"))
    config = structs.replace(config, health_address="", metrics_address="")
    with NodeDatapath(bpffs, sandbox.cgroup, objects, Sizes(2, 4), most=Sizes(64, 100)) as node:

        async def run() -> Report:
            agent = Agent(config, ManifestFolder(folder), node)
            async with running(agent):
                return agent.reporter.report()

        report = asyncio.run(run())
        assert node.sizes == Sizes(16, 4)
        assert len(node.tables.frontends) == 12
        assert sandbox.run(lambda: ask_tcp("10.96.1.5", 80))[0] in BACKENDS4[:2]
        told = {table.name: (table.used, table.capacity, table.most) for table in report.maps}
        assert told["frontends"] == (12, 16, 64)
        assert told["backends"] == (2, 4, 100)
        assert not report.alarms
    node.pins.remove()


def test_tables_that_are_larger_than_asked_are_told_by_status(agent: AgentUnderTest) -> None:
    with agent.config.open("a") as config:
        config.write("max_frontends = 64\n")
    agent.start()
    assert "the configuration says" not in agent.run("status").stdout
    agent.stop()
    agent.config.write_text(agent.config.read_text().replace("max_frontends = 64", "max_frontends = 8"))
    agent.start()
    line = "max_frontends = 8 and the tables have room for 64: they keep that until 'socklb cleanup'"
    assert line in agent.run("status").stdout
    assert line in agent.log
    assert [problem["field"] for problem in agent.status()["problems"]] == ["max_frontends, max_backends"]
