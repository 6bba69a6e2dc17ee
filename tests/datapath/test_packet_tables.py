"""What the packet path reads in the hooks' tables, and that the hooks leave to it what is its own."""

from __future__ import annotations

import ctypes as ct
import os
import platform
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rig.sandbox import BACKENDS4, BACKENDS6, Sandbox, ask_tcp, ask_udp, udp_client
from socklb.datapath import dump, features, layout, libbpf
from socklb.datapath.dump import Fill
from socklb.datapath.maps import HashTable, TrieTable
from socklb.datapath.networks import Networks
from socklb.datapath.node_datapath import NodeDatapath
from socklb.datapath.writer import MapWriter
from socklb.model import FROM_OUTSIDE, Difference, Frontend, Serving, pack_address
from tests.datapath.services import SERVICE4, SERVICE6, frontend, serving

RANGES = ("10.0.0.0/8", "192.0.2.7/32")
GUARDED = serving(BACKENDS4[0])._replace(sources=RANGES)
PORT = 8080  # where the sandbox's servers listen: the address of one is a Service's here


class Ranges:
    """Who may ask, as the kernel finds it for a row."""

    def __init__(self, maps: Path) -> None:
        self._table = TrieTable(maps, "source_ranges", layout.SOURCE_RANGE.size, 1)
        self._rows = HashTable(maps, "frontends", layout.FRONTEND_KEY.size, layout.ROW_INDEX.size)

    def close(self) -> None:
        self._table.close()
        self._rows.close()

    def __len__(self) -> int:
        return sum(1 for _ in self._table.items())

    def row(self, asked: Frontend) -> int:
        return int.from_bytes(dict(self._rows.items())[layout.pack_frontend(asked)], sys.byteorder)

    def may_ask(self, asked: Frontend, client: str) -> bool:
        key = layout.SOURCE_RANGE.pack(32 + 128, self.row(asked), pack_address(client))
        return found(self._table, key) is not None


def found(table: TrieTable, key: bytes) -> int | None:
    value = bytearray(1)
    into = (ct.c_char * 1).from_buffer(value)
    if libbpf.library().bpf_map_lookup_elem(table.fd, key, into):
        return None
    return value[0]


@pytest.fixture
def ranges(datapath: NodeDatapath) -> Iterator[Ranges]:
    with closing(Ranges(datapath.pins.maps)) as table:
        yield table


class TestSourceRanges:
    def test_clients_in_them_may_ask_and_no_others(self, tables: MapWriter, ranges: Ranges) -> None:
        six = serving(BACKENDS6[0])._replace(sources=("2001:db8::/32",))
        tables.apply(Difference({frontend(SERVICE4): GUARDED, frontend(SERVICE6): six}))
        four = frontend(SERVICE4)
        clients = ("10.1.2.3", "192.0.2.7", "192.0.2.8", "11.0.0.1")
        assert [ranges.may_ask(four, client) for client in clients] == [True, True, False, False]
        asked = [ranges.may_ask(frontend(SERVICE6), client) for client in ("2001:db8::1", "2001:db9::1")]
        assert asked == [True, False]

    def test_they_are_of_one_frontend(self, tables: MapWriter, ranges: Ranges) -> None:
        other = GUARDED._replace(sources=("198.51.100.0/24",))
        tables.apply(Difference({frontend(SERVICE4): GUARDED, frontend(SERVICE4, port=81): other}))
        assert not ranges.may_ask(frontend(SERVICE4, port=81), "10.1.2.3")

    def test_they_change_come_and_go_with_the_frontend(self, tables: MapWriter, ranges: Ranges) -> None:
        asked = frontend(SERVICE4)
        tables.apply(Difference({asked: serving(BACKENDS4[0])}))
        assert len(ranges) == 0
        tables.apply(Difference({asked: GUARDED}))
        assert (len(ranges), ranges.may_ask(asked, "10.1.2.3")) == (2, True)
        tables.apply(Difference({asked: GUARDED._replace(sources=("192.0.2.0/24", "10.0.0.0/8"))}))
        assert (len(ranges), ranges.may_ask(asked, "192.0.2.8")) == (2, True)
        tables.apply(Difference({asked: GUARDED._replace(sources=())}))
        assert (len(ranges), tables.serving(asked)) == (0, GUARDED._replace(sources=()))
        tables.apply(Difference({asked: GUARDED}))
        tables.apply(Difference({asked: serving(BACKENDS4[0])}))
        assert (len(ranges), tables.serving(asked)) == (0, serving(BACKENDS4[0]))
        tables.apply(Difference({asked: GUARDED}))
        tables.apply(Difference(delete=frozenset({asked})))
        assert len(ranges) == 0

    def test_the_next_agent_goes_on_with_them_and_drops_what_an_ended_one_left(
        self, datapath: NodeDatapath, ranges: Ranges
    ) -> None:
        asked = frontend(SERVICE4)
        datapath.tables.apply(Difference({asked: GUARDED}))
        with closing(TrieTable(datapath.pins.maps, "source_ranges", layout.SOURCE_RANGE.size, 1)) as table:
            table.put(layout.pack_source_range(ranges.row(asked) + 1, "0.0.0.0/0"), b"\x01")
        with closing(MapWriter(datapath.pins.maps)) as after:
            assert len(ranges) == 2
            after.apply(Difference({asked: GUARDED._replace(sources=("10.0.0.0/8",))}))
            assert [ranges.may_ask(asked, client) for client in ("10.1.2.3", "192.0.2.7")] == [True, False]

    def test_sockets_ask_past_them(self, sandbox: Sandbox, tables: MapWriter) -> None:
        """The hook does not know the client's address; the packet path does. A server stands for it here."""

        def ask() -> set[str]:
            with udp_client(BACKENDS4[3]) as client:
                return {ask_tcp(BACKENDS4[3], PORT)[0], ask_udp(client, BACKENDS4[3], PORT)[0]}

        asked = [frontend(BACKENDS4[3], protocol, PORT) for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP)]
        tables.apply(Difference(dict.fromkeys(asked, serving(BACKENDS4[0]))))  # the control
        assert sandbox.run(ask) == {BACKENDS4[0]}
        tables.apply(Difference(dict.fromkeys(asked, GUARDED)))
        assert sandbox.run(ask) == {BACKENDS4[3]}

    def test_ranges_without_room_keep_their_clients_out_until_there_is_some(
        self, datapath: NodeDatapath, ranges: Ranges
    ) -> None:
        many = tuple(f"10.{n >> 8}.{n & 255}.0/24" for n in range(1 << 8))
        asked = [frontend(SERVICE4, port=n) for n in range(1, 515)]
        datapath.tables.apply(Difference(dict.fromkeys(asked[:512], GUARDED._replace(sources=many))))
        datapath.tables.apply(Difference(dict.fromkeys(asked[512:], GUARDED)))
        assert datapath.tables.ranges_waiting == 4
        assert not ranges.may_ask(asked[513], "10.200.0.1")
        assert Fill("source_ranges", 1 << 17, 1 << 17) in datapath.tables.fill()
        assert Fill("source_ranges", 1 << 17, 1 << 17) in dump.fill(datapath.pins.maps, {})
        datapath.tables.apply(Difference(delete=frozenset(asked[:1])))
        assert (datapath.tables.ranges_waiting, ranges.may_ask(asked[513], "10.200.0.1")) == (0, True)


LOCAL = Serving(serving(*BACKENDS4[:2]).backends, own_node_only=True, outside=serving(BACKENDS4[1]).backends)


class TestASecondRowForClientsOutside:
    def test_is_beside_the_first_and_counted_as_one(self, tables: MapWriter) -> None:
        asked = frontend(SERVICE4)
        tables.apply(Difference({asked: LOCAL}).for_tables())
        outside = asked._replace(scope=FROM_OUTSIDE)
        assert tables.frontends == {asked, outside}
        assert tables.serving(asked) == LOCAL._replace(outside=())  # what it says is that there is a second row
        assert tables.serving(outside) == serving(BACKENDS4[1])
        assert (tables.count, tables.without_backends) == (1, 0)

    def test_with_nobody_is_no_refusal_of_clients_inside(self, sandbox: Sandbox, tables: MapWriter) -> None:
        tables.apply(Difference({frontend(SERVICE4): LOCAL._replace(outside=())}).for_tables())
        assert (tables.count, tables.without_backends) == (1, 0)
        assert sandbox.run(lambda: {ask_tcp(SERVICE4, 80)[0] for _ in range(20)}) == set(BACKENDS4[:2])

    def test_goes_with_the_policy_and_is_read_back(self, datapath: NodeDatapath) -> None:
        asked = frontend(SERVICE4)
        datapath.tables.apply(Difference({asked: LOCAL}).for_tables())
        with closing(MapWriter(datapath.pins.maps)) as after:
            assert (after.count, len(after.frontends)) == (1, 2)
            after.apply(Difference({asked: serving(BACKENDS4[0])}).for_tables())
            assert (after.count, after.frontends) == (1, {asked})


def test_sctp_is_in_the_tables_beside_the_same_port_of_others(sandbox: Sandbox, tables: MapWriter) -> None:
    sctp = frontend(SERVICE4, socket.IPPROTO_SCTP)
    tables.apply(Difference({sctp: serving(BACKENDS4[5]), frontend(SERVICE4): serving(BACKENDS4[0])}).for_tables())
    assert tables.serving(sctp) == serving(BACKENDS4[5])
    assert sandbox.run(lambda: ask_tcp(SERVICE4, 80)[0]) == BACKENDS4[0]


PODS = {(pack_address("10.244.0.0"), 112): layout.POD_NETWORK}
BOTH = {**PODS, (pack_address("10.244.9.0"), 120): layout.POD_NETWORK | layout.NATIVE_NETWORK}


class TestNetworks:
    def flags(self, node: NodeDatapath, address: str) -> int | None:
        with closing(TrieTable(node.pins.maps, "networks", layout.NETWORK.size, 1)) as table:
            return found(table, layout.NETWORK.pack(128, pack_address(address)))

    def test_the_longest_prefix_counts(self, datapath: NodeDatapath) -> None:
        datapath.tables.networks.set(BOTH)
        addresses = ("10.244.1.1", "10.244.9.1", "10.245.0.1")
        assert [self.flags(datapath, address) for address in addresses] == [1, 3, None]

    def test_those_that_are_not_wanted_any_more_go(self, datapath: NodeDatapath) -> None:
        datapath.tables.networks.set(BOTH)
        datapath.tables.networks.set(PODS)
        assert self.flags(datapath, "10.244.9.1") == layout.POD_NETWORK
        datapath.tables.networks.set({})
        assert self.flags(datapath, "10.244.9.1") is None

    def test_more_than_there_is_room_for_wait(self, datapath: NodeDatapath) -> None:
        many = {(pack_address(f"{n >> 16}.{n >> 8 & 255}.{n & 255}.0"), 120): layout.POD_NETWORK for n in range(65538)}
        datapath.tables.networks.set(many)
        assert datapath.tables.addresses_waiting == 2
        assert Fill("networks", 1 << 16, 1 << 16) in datapath.tables.fill()
        assert Fill("networks", 1 << 16, 1 << 16) in dump.fill(datapath.pins.maps, {})
        assert datapath.tables.needed() == {}, "it does not grow"
        datapath.tables.networks.set({})
        assert datapath.tables.addresses_waiting == 0

    def test_the_next_agent_knows_them(self, datapath: NodeDatapath) -> None:
        datapath.tables.networks.set(BOTH)
        with closing(Networks(datapath.pins.maps)) as after:
            after.set(PODS)
        assert self.flags(datapath, "10.244.9.1") == layout.POD_NETWORK


MAP_CREATE, DEVMAP_HASH, ENOTSUPP = 0, 25, 524  # of which the C library knows no name
LO = struct.pack("=I", 1)


@pytest.fixture
def without_batches(bpffs: Path) -> Iterator[str]:
    """A table of the kernel's that it does not write in batches; before Linux 5.13 tries are such."""
    shape = struct.pack("=5I", DEVMAP_HASH, 4, 4, 2, 0)
    number = features.SYS_BPF[platform.machine()]
    table = ct.CDLL(None).syscall(ct.c_long(number), ct.c_long(MAP_CREATE), shape, ct.c_long(len(shape)))
    assert table >= 0
    libbpf.pin(table, bpffs / "without_batches")
    yield "without_batches"
    (bpffs / "without_batches").unlink()
    os.close(table)


def test_a_trie_is_written_where_the_kernel_has_no_batches_for_it(bpffs: Path, without_batches: str) -> None:
    elements = [(struct.pack("=I", key), LO) for key in range(2)]
    with closing(HashTable(bpffs, without_batches, 4, 4)) as batches, pytest.raises(libbpf.BpfError) as refused:
        batches.put(elements)
    assert refused.value.errno == ENOTSUPP
    with closing(TrieTable(bpffs, without_batches, 4, 4)) as table:
        assert [table.put(key, value) for key, value in elements] == [True, True]
        table.delete(elements[0][0])
        table.delete(elements[0][0])
        assert list(table.items()) == elements[1:]
