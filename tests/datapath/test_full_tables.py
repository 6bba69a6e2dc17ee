"""Tables that are full: what is gone is never served again, and as much of the rest as fits.

A naive model says what must be true after any changes, and a reader looks at every single store.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rig.sandbox import BACKENDS4, Sandbox, ask_tcp
from socklb.datapath import barrier, layout
from socklb.datapath.maps import HashTable, RowTable
from socklb.datapath.node_datapath import NodeDatapath
from socklb.datapath.sizes import Sizes
from socklb.datapath.writer import MapWriter
from socklb.model import Addresses, Difference, Frontend, Serving
from tests.datapath.services import frontend, serving

FRONTENDS = [frontend(f"10.96.1.{n}") for n in range(6)]


@pytest.fixture
def node(sandbox: Sandbox, bpffs: Path, objects: Path) -> Iterator[NodeDatapath]:
    with NodeDatapath(bpffs, sandbox.cgroup, objects, Sizes(frontends=16, backends=8)) as node:
        node.attach()
        yield node
    node.pins.remove()


def served(tables: MapWriter) -> dict[Frontend, Serving]:
    return {f: now for f in tables.frontends if (now := tables.serving(f))}


class TestTakingAway:
    """Four Services of two endpoints each, eight rows."""

    @pytest.fixture
    def full(self, node: NodeDatapath) -> MapWriter:
        node.tables.apply(Difference(put={FRONTENDS[n]: serving(*BACKENDS4[n : n + 2]) for n in range(4)}))
        assert not node.tables.waiting
        return node.tables

    def test_both_endpoints_of_every_service_are_replaced(self, sandbox: Sandbox, full: MapWriter) -> None:
        put = {FRONTENDS[n]: serving(BACKENDS4[3 - n], BACKENDS4[n + 4]) for n in range(4)}
        full.apply(Difference(put=put))
        assert served(full) == put
        assert not full.waiting
        for n in range(4):
            answered = {sandbox.run(lambda n=n: ask_tcp(f"10.96.1.{n}", 80))[0] for _ in range(8)}
            assert answered <= {BACKENDS4[n + 4], BACKENDS4[3 - n]}

    def test_one_endpoint_goes(self, full: MapWriter) -> None:
        full.apply(Difference(put={FRONTENDS[0]: serving(BACKENDS4[1])}))
        assert full.serving(FRONTENDS[0]) == serving(BACKENDS4[1])
        assert not full.waiting

    def test_one_goes_of_a_set_that_another_service_keeps(self, full: MapWriter) -> None:
        shared = serving(*BACKENDS4[:2])
        full.apply(Difference(put={FRONTENDS[4]: shared}))
        full.apply(Difference(put={FRONTENDS[0]: serving(BACKENDS4[1])}))
        assert full.serving(FRONTENDS[0]) == serving(BACKENDS4[1])
        assert full.serving(FRONTENDS[4]) == shared
        assert not full.waiting

    def test_services_that_share_a_set_get_another_together(self, full: MapWriter) -> None:
        full.apply(Difference(put={FRONTENDS[4]: serving(*BACKENDS4[:2])}))
        put = dict.fromkeys((FRONTENDS[0], FRONTENDS[4]), serving(*BACKENDS4[6:8]))
        full.apply(Difference(put=put))
        assert served(full) | put == served(full)
        assert not full.waiting

    def test_more_endpoints_than_fit_are_served_as_far_as_they_do(self, full: MapWriter) -> None:
        wanted = serving(*BACKENDS4[1:5])
        full.apply(Difference(put={FRONTENDS[0]: wanted}))
        assert served(full)[FRONTENDS[0]] == serving(*BACKENDS4[1:3])
        assert full.waiting == {FRONTENDS[0]: wanted}
        full.apply(Difference(delete=frozenset({FRONTENDS[3]})))
        assert full.serving(FRONTENDS[0]) == wanted
        assert not full.waiting

    def test_a_new_agent_mends_what_waits(self, node: NodeDatapath, full: MapWriter) -> None:
        wanted = {FRONTENDS[n]: serving(*BACKENDS4[n : n + 3]) for n in range(4)}
        full.apply(Difference(put=wanted))
        again = MapWriter(node.pins.maps)
        again.apply(Difference(put=wanted))
        assert again.waiting == full.waiting
        assert again.waiting == {f: w for f, w in wanted.items() if served(again)[f] != w}
        assert all(set(now.backends) <= set(wanted[f].backends) for f, now in served(again).items())
        again.apply(Difference(put={f: w._replace(backends=w.backends[:2]) for f, w in wanted.items()}))
        assert not again.waiting
        again.close()


class Reader:
    """Sees every store into the mapped tables, as programs on other CPUs may."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.old: Mapping[Frontend, Serving] = {}
        self.wanted: Mapping[Frontend, Serving] = {}
        self.shown: dict[int, tuple[Frontend, tuple[int, int]]] = {}  # by row
        self.held: set[int] = set()  # rows of sets that programs may still read
        self.backends: RowTable | None = None
        write, publish = RowTable.write, RowTable.publish

        def seen_write(table: RowTable, index: int, rows: bytes) -> None:
            if table.name == "backends":
                self.backends = table
                written = range(index, index + len(rows) // table.value_size)
                assert self.held.isdisjoint(written), "somebody reads what is written"
            write(table, index, rows)
            if table.name == "frontend_rows":
                key, word, _ = layout.FRONTEND_ROW.unpack(rows)
                self.show(index, layout.unpack_frontend(key), word)

        def seen_publish(table: RowTable, index: int, offset: int, word: int) -> None:
            publish(table, index, offset, word)
            if table.name == "frontend_rows" and offset == layout.SET_OFFSET:
                self.show(index, self.shown[index][0], word)

        delete = HashTable.delete

        def seen_delete(table: HashTable, keys: Iterable[bytes]) -> None:
            gone = list(keys)
            delete(table, gone)
            if table.name == "frontends":
                self.forget({layout.unpack_frontend(key) for key in gone})

        monkeypatch.setattr(HashTable, "delete", seen_delete)
        monkeypatch.setattr(RowTable, "write", seen_write)
        monkeypatch.setattr(RowTable, "publish", seen_publish)
        monkeypatch.setattr(barrier, "wait_for_readers", self.waited)

    def forget(self, gone: set[Frontend]) -> None:
        """Those are no longer known; who found them before may still be there."""
        self.shown = {row: shown for row, shown in self.shown.items() if shown[0] not in gone}

    def waited(self) -> None:
        self.held = {row for _, (base, count) in self.shown.values() for row in range(base, base + count)}

    def show(self, row: int, shown: Frontend, word: int) -> None:
        base, count = layout.unpack_set(word)
        if count:
            assert self.backends is not None
            found = set(layout.unpack_backends(self.backends.read(base, count)))
        else:
            found = set()
        wanted = set(self.wanted[shown].backends)
        old = set(self.old[shown].backends) if shown in self.old else set()
        assert found == old or found <= wanted, "a mix, or an endpoint that is gone"
        assert found or not old & wanted, "a gap"
        self.shown[row] = (shown, (base, count))
        self.held.update(range(base, base + count))


some_backends = st.sets(st.sampled_from(BACKENDS4), max_size=8).map(sorted)
some_serving = st.builds(
    lambda a, loaded: serving(*a, least_loaded=loaded), some_backends, st.sampled_from([False] * 3 + [True])
)
SMALL = [Sizes(2, 2), Sizes(4, 4), Sizes(6, 8), Sizes(4, 16), Sizes(6, 29), Sizes(3, 24)]
a_change = st.dictionaries(st.sampled_from(FRONTENDS), st.none() | some_serving, min_size=1)


class TestAtRandom:
    @pytest.fixture
    def reader(self, monkeypatch: pytest.MonkeyPatch) -> Reader:
        return Reader(monkeypatch)

    @pytest.fixture(params=SMALL, ids=lambda sizes: f"{sizes[0]}x{sizes[1]}")
    def small(
        self, request: pytest.FixtureRequest, reader: Reader, sandbox: Sandbox, bpffs: Path, objects: Path
    ) -> Iterator[NodeDatapath]:
        assert reader
        with NodeDatapath(bpffs, sandbox.cgroup, objects, request.param) as node:
            yield node
        node.pins.remove()

    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(changes=st.lists(a_change, min_size=1, max_size=12), restarts=st.sets(st.integers(0, 11), max_size=3))
    def test_any_changes(
        self, small: NodeDatapath, reader: Reader, changes: list[dict[Frontend, Serving | None]], restarts: set[int]
    ) -> None:
        with closing(MapWriter(small.pins.maps)) as tables:
            tables.apply(Difference(delete=tables.frontends))
            reader.shown, reader.held = {}, set()
            self.change(small, tables, reader, changes, restarts)

    @pytest.mark.parametrize("small", [Sizes(2, 2)], indirect=True)
    @pytest.mark.parametrize("then", ["23", "3"], ids=("one of two stays", "none stays"))
    def test_endpoints_change_while_no_row_is_free_at_all(self, small: NodeDatapath, reader: Reader, then: str) -> None:
        """Two Services that miss a backend each, so both have all rows that there are for exchange."""
        one, two = FRONTENDS[:2]

        def of(numbers: str) -> Serving:
            return serving(*(BACKENDS4[int(number)] for number in numbers))

        changes: list[dict[Frontend, Serving | None]] = [
            {one: of("123")},
            {two: of("123")},
            {one: of("123"), two: of("13")},
            {one: of(then)},
        ]
        self.change(small, small.tables, reader, changes, set())
        assert small.tables.serving(one) == of(then[0])
        self.change(small, small.tables, reader, [{two: None}], {0}, reader.wanted)
        with closing(MapWriter(small.pins.maps)) as tables:
            assert served(tables) == {one: of(then)}

    @staticmethod
    def change(
        small: NodeDatapath,
        tables: MapWriter,
        reader: Reader,
        changes: list[dict[Frontend, Serving | None]],
        restarts: set[int],
        before_them: Mapping[Frontend, Serving] = MappingProxyType({}),
    ) -> None:
        wanted = reader.wanted = dict(before_them)
        for number, change in enumerate(changes):
            if number in restarts:
                begin_again(small, tables, reader)
            before = served(tables)
            reader.old = before
            for f, now in change.items():
                wanted.pop(f, None)
                if now is not None:
                    wanted[f] = now
            put = {f: now for f, now in change.items() if now is not None}
            tables.apply(Difference(put, frozenset(change.keys() - put.keys())))
            judge(small.sizes, tables, before, wanted)


def begin_again(small: NodeDatapath, tables: MapWriter, reader: Reader) -> None:
    """Read back, as a new agent does."""
    reader.old = before = served(tables)
    waited = dict(tables.waiting)
    tables.read_back()
    assert served(tables) == before
    tables.apply(Difference(put=reader.wanted))
    assert waited.keys() >= tables.waiting.keys(), "no worse than before"
    judge(small.sizes, tables, before, reader.wanted)


def judge(
    sizes: Sizes, tables: MapWriter, before: Mapping[Frontend, Serving], wanted: Mapping[Frontend, Serving]
) -> None:
    """Say whether the tables are as good as they can be."""
    now = served(tables)
    assert tables.waiting == {f: w for f, w in wanted.items() if now.get(f) != w}, "who waits is told"
    for f, serving_now in now.items():
        assert set(serving_now.backends) <= set(wanted[f].backends), "an endpoint that is gone"
        if f in before:
            assert serving_now.backends or not wanted[f].backends, "refused though somebody serves"
    if len(now) < sizes.frontends:
        there = {(s.backends, s.least_loaded) for s in now.values()}
        new = {f for f in wanted if f not in now and (wanted[f].backends, wanted[f].least_loaded) in there}
        assert not new, "its set is there"
    needed = sum(len(w.backends) for w in wanted.values())
    if len(wanted) <= sizes.frontends and needed <= sizes.backends:
        assert now == wanted, "there is room for all"


class TestWaitingCostsNothing:
    MANY = 3000

    @pytest.fixture
    def crowded(self, sandbox: Sandbox, bpffs: Path, objects: Path) -> Iterator[MapWriter]:
        with NodeDatapath(bpffs, sandbox.cgroup, objects, Sizes(frontends=1000, backends=4000)) as node:
            put = {self.service(n): serving(*BACKENDS4[n % 4 : n % 4 + 4]) for n in range(self.MANY)}
            node.tables.apply(Difference(put, add=Addresses(services=frozenset(f.address for f in put))))
            yield node.tables
        node.pins.remove()

    @staticmethod
    def service(n: int) -> Frontend:
        return frontend(f"10.97.{n >> 8}.{n & 255}")

    def test_one_change_costs_the_same_as_without_those_that_wait(self, crowded: MapWriter) -> None:
        assert len(crowded.waiting) == 2000
        assert crowded.addresses_waiting == 2000
        one = next(iter(crowded.frontends))
        spent: list[float] = []
        for n in range(50):
            before, written = time.process_time(), crowded.writes.copy()
            crowded.apply(Difference(put={one: serving(*BACKENDS4[n % 3 : n % 3 + 3])}))
            spent.append(time.process_time() - before)
            assert (crowded.writes - written).total() <= 4
        assert sorted(spent)[25] < 0.001
        assert len(crowded.waiting) == 2000

    def test_as_many_are_served_as_room_is_made_for(self, crowded: MapWriter) -> None:
        gone = frozenset(list(crowded.frontends)[:10])
        addresses = frozenset(f.address for f in gone)
        crowded.apply(Difference(delete=gone, remove=Addresses(services=addresses)))
        assert len(crowded.waiting) == 1990
        assert crowded.addresses_waiting == 1990


def test_a_table_in_pieces_takes_a_set_as_large_as_what_is_free(sandbox: Sandbox, bpffs: Path, objects: Path) -> None:
    """Sets of one backend all over the table, then one of half the table."""
    with NodeDatapath(bpffs, sandbox.cgroup, objects, Sizes(frontends=256, backends=256)) as node:
        ports = {
            frontend("10.96.1.1", port=1 + n): Serving((serving(BACKENDS4[0]).backends[0]._replace(port=1 + n),))
            for n in range(256)
        }
        node.tables.apply(Difference(put=ports))
        node.tables.apply(
            Difference(
                put={
                    f: s._replace(backends=(s.backends[0]._replace(port=s.backends[0].port + 1000),))
                    for f, s in ports.items()
                }
            )
        )
        keep = list(ports)[::3]
        node.tables.apply(Difference(delete=frozenset(ports) - frozenset(keep)))
        large = Serving(tuple(serving(BACKENDS4[1]).backends[0]._replace(port=1 + n) for n in range(256 - len(keep))))
        node.tables.apply(Difference(put={frontend("10.96.1.2"): large}))
        assert not node.tables.waiting
        assert node.tables.serving(frontend("10.96.1.2")) == large
        again = MapWriter(node.pins.maps)
        assert served(again) == served(node.tables)
        again.close()
    node.pins.remove()
