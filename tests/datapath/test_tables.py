"""What the agent writes, and what a reader may see while it is written."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.sandbox import BACKENDS4, BACKENDS6, Sandbox, ask_tcp
from socklb.datapath import dump
from socklb.datapath.backend_sets import BackendSets
from socklb.datapath.node_datapath import NodeDatapath
from socklb.datapath.sizes import Sizes
from socklb.datapath.writer import MapWriter
from socklb.model import Addresses, Backend, Difference, pack_address
from tests.datapath.services import SERVICE4, SERVICE6, frontend, serving, web

NODE_MAPS = ("frontends", "backends", "service_addrs", "node_addrs")


def held(node: NodeDatapath) -> dict[str, int]:
    return {
        fill.name: fill.used
        for fill in dump.fill(node.pins.maps, dump.read_frontends(node.pins.maps))
        if fill.name in NODE_MAPS
    }


class TestReadBack:
    def test_a_new_agent_finds_what_the_last_one_published(self, datapath: NodeDatapath) -> None:
        datapath.tables.apply(web())
        again = MapWriter(datapath.pins.maps)
        assert again.frontends == frozenset(web().put)
        assert all(again.serving(f) == b for f, b in web().put.items())
        assert again.addresses == web().add
        again.close()

    def test_it_writes_nothing_that_is_right_already(self, datapath: NodeDatapath) -> None:
        datapath.tables.apply(web())
        again = MapWriter(datapath.pins.maps)
        again.apply(web())
        assert not +again.writes
        again.close()

    def test_it_goes_on_without_touching_rows_in_use(self, datapath: NodeDatapath) -> None:
        datapath.tables.apply(web())
        again = MapWriter(datapath.pins.maps)
        other = frontend("10.96.0.11")
        again.apply(Difference(put={other: serving(*BACKENDS4[4:])}))
        assert dump.read_frontends(datapath.pins.maps) == {**web().put, other: serving(*BACKENDS4[4:])}
        again.close()


class TestDifference:
    def test_a_changed_set_costs_its_own_rows_alone(self, tables: MapWriter) -> None:
        tables.apply(Difference(put={frontend(f"10.96.1.{n}"): serving(BACKENDS4[n % 8]) for n in range(200)}))
        before = tables.writes.copy()
        tables.apply(Difference(put={frontend("10.96.1.7"): serving(*BACKENDS4[:3])}))
        assert tables.writes - before == {"backends": 3, "rows": 1}

    def test_equal_sets_are_kept_once(self, datapath: NodeDatapath) -> None:
        datapath.tables.apply(Difference(put={frontend(f"10.96.1.{n}"): serving(*BACKENDS4[:4]) for n in range(50)}))
        assert held(datapath)["backends"] == 4

    def test_what_is_deleted_leaves_nothing_behind(self, datapath: NodeDatapath) -> None:
        datapath.tables.apply(web())
        datapath.tables.apply(Difference(delete=frozenset(web().put), remove=web().add))
        assert held(datapath) == {"frontends": 0, "backends": 0, "service_addrs": 0, "node_addrs": 0}

    def test_ten_thousand_frontends_and_more_than_one_batch(self, datapath: NodeDatapath) -> None:
        put = {frontend(f"10.97.{n >> 8}.{n & 255}"): serving(BACKENDS4[n % 8]) for n in range(10_000)}
        addresses = frozenset(pack_address(f"10.97.{n >> 8}.{n & 255}") for n in range(10_000))
        datapath.tables.apply(Difference(put=put, add=Addresses(services=addresses)))
        assert dump.read_frontends(datapath.pins.maps) == put
        datapath.tables.apply(Difference(delete=frozenset(put), remove=Addresses(services=addresses)))
        assert held(datapath)["frontends"] == 0


class TestFull:
    @pytest.fixture
    def node(self, sandbox: Sandbox, bpffs: Path, objects: Path) -> Iterator[NodeDatapath]:
        with NodeDatapath(bpffs, sandbox.cgroup, objects, Sizes(frontends=4, backends=8)) as node:
            node.attach()
            yield node
        node.pins.remove()

    def test_frontends_beyond_the_table_wait_and_the_others_serve(self, sandbox: Sandbox, node: NodeDatapath) -> None:
        put = {frontend(f"10.96.1.{n}"): serving(BACKENDS4[0]) for n in range(6)}
        node.tables.apply(Difference(put=put))
        assert len(node.tables.waiting) == 2
        served = next(iter(node.tables.frontends))
        assert sandbox.run(lambda: ask_tcp(socket.inet_ntoa(served.address[12:]), 80))[0] == BACKENDS4[0]

    def test_what_waits_gets_room_as_soon_as_there_is_some(self, node: NodeDatapath) -> None:
        put = {frontend(f"10.96.1.{n}"): serving(BACKENDS4[0]) for n in range(5)}
        node.tables.apply(Difference(put=put))
        (waiting,) = node.tables.waiting
        gone = next(iter(node.tables.frontends))
        node.tables.apply(Difference(delete=frozenset({gone})))
        assert not node.tables.waiting
        assert waiting in node.tables.frontends

    def test_what_waits_is_tried_again_only_when_there_is_room(
        self, node: NodeDatapath, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else every change would cost as much as everything that waits."""
        put = {frontend(f"10.96.1.{n}"): serving(*BACKENDS4[n : n + 2]) for n in range(6)}
        node.tables.apply(Difference(put=put))
        tried: list[tuple[Backend, ...]] = []
        acquire = BackendSets.acquire

        def noted(sets: BackendSets, backends: tuple[Backend, ...], *, counted: bool) -> int | None:
            tried.append(backends)
            return acquire(sets, backends, counted=counted)

        monkeypatch.setattr(BackendSets, "acquire", noted)
        served, *_ = node.tables.frontends
        before = node.tables.writes.copy()
        node.tables.apply(Difference(add=Addresses(services=frozenset({pack_address("10.96.1.1")}))))
        assert len(node.tables.waiting) == 2
        assert not tried
        assert node.tables.writes - before == {"addresses": 1}
        node.tables.apply(Difference(delete=frozenset({served})))
        assert len(tried) == 1
        assert len(node.tables.waiting) == 1

    def test_those_that_wait_are_not_counted_as_refused(self, node: NodeDatapath) -> None:
        put = {frontend(f"10.96.1.{n}"): serving(*BACKENDS4[:n]) for n in range(4)}
        node.tables.apply(Difference(put=put))
        assert node.tables.without_backends == 1
        node.tables.apply(Difference(put={frontend("10.96.1.3"): serving(), frontend("10.96.1.9"): serving()}))
        assert node.tables.without_backends == 2
        node.tables.apply(Difference(delete=frozenset({frontend("10.96.1.0")})))
        assert node.tables.without_backends == 2
        assert not node.tables.waiting
        again = MapWriter(node.pins.maps)
        assert again.without_backends == 2
        again.close()

    def test_a_set_without_room_is_served_as_far_as_it_fits(self, sandbox: Sandbox, node: NodeDatapath) -> None:
        first, second = frontend(SERVICE4), frontend(SERVICE6)
        node.tables.apply(Difference(put={first: serving(*BACKENDS4[:4]), second: serving(*BACKENDS6[:4])}))
        node.tables.apply(Difference(put={first: serving(*BACKENDS4[3:8])}))
        assert list(node.tables.waiting) == [first]
        assert node.tables.serving(first) == serving(*BACKENDS4[3:7])
        assert sandbox.run(lambda: ask_tcp(SERVICE4, 80))[0] in BACKENDS4[3:7]

    def test_rows_are_used_again_after_readers_have_left(self, node: NodeDatapath) -> None:
        for n in range(50):
            node.tables.apply(Difference(put={frontend(SERVICE4): serving(*BACKENDS4[n % 5 : n % 5 + 3])}))
            assert not node.tables.waiting
        assert node.tables.serving(frontend(SERVICE4)) == serving(*BACKENDS4[4:7])

    def test_an_address_without_room_waits_until_another_goes(self, node: NodeDatapath) -> None:
        addresses = [pack_address(f"10.96.1.{n}") for n in range(5)]
        node.tables.apply(Difference(add=Addresses(services=frozenset(addresses))))
        assert node.tables.addresses_waiting == 1
        here = next(iter(node.tables.addresses.services))
        node.tables.apply(Difference(remove=Addresses(services=frozenset({here}))))
        assert not node.tables.addresses_waiting
        assert node.tables.addresses.services == set(addresses) - {here}

    def test_an_address_that_waits_and_goes_is_forgotten(self, node: NodeDatapath) -> None:
        addresses = frozenset(pack_address(f"10.96.1.{n}") for n in range(5))
        node.tables.apply(Difference(add=Addresses(services=addresses)))
        node.tables.apply(Difference(remove=Addresses(services=addresses)))
        assert not node.tables.addresses_waiting
        assert not node.tables.addresses.services

    def test_tables_keep_their_size_when_the_next_agent_wants_smaller_ones_and_it_says_so(
        self, sandbox: Sandbox, bpffs: Path, objects: Path, node: NodeDatapath
    ) -> None:
        node.tables.apply(Difference(put={frontend(SERVICE4): serving(BACKENDS4[0])}))
        node.pins.unlock()
        with NodeDatapath(bpffs, sandbox.cgroup, objects, Sizes(frontends=2, backends=8)) as after:
            assert after.sizes == Sizes(frontends=4, backends=8)
            assert "max_frontends = 2 and the tables have room for 4" in after.larger_than_asked
            assert after.tables.frontends == {frontend(SERVICE4)}
