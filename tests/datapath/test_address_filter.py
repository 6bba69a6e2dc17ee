"""Most addresses pass without a hash lookup, and none that is ours ever does."""

from __future__ import annotations

import itertools
from contextlib import closing

import pytest

from rig.sandbox import BACKENDS4, Sandbox, ask_tcp
from socklb.datapath import layout
from socklb.datapath.maps import RowTable
from socklb.datapath.node_datapath import NodeDatapath
from socklb.datapath.writer import MapWriter
from socklb.model import Addresses, Difference, pack_address
from tests.datapath.services import SERVICE4, frontend, serving, web


def words(node: NodeDatapath) -> RowTable:
    return RowTable(node.pins.maps, "address_filter", layout.FILTER_WORD.size)


def bits(node: NodeDatapath) -> set[int]:
    with closing(words(node)) as table:
        numbers = layout.FILTER_WORD.iter_unpack(table.read(0, table.capacity))
        return {64 * i + bit for i, (word,) in enumerate(numbers) if word for bit in range(64) if word >> bit & 1}


def two_addresses_with_one_bit() -> tuple[str, str]:
    seen: dict[int, str] = {}
    for a, b, c in itertools.product(range(96, 256), range(256), range(256)):
        address = f"10.{a}.{b}.{c}"
        other = seen.setdefault(layout.filter_bit(pack_address(address)), address)
        if other != address:
            return other, address
    raise AssertionError("every address has a bit of its own")


def test_an_address_whose_bit_is_clear_passes_and_a_new_agent_sets_it_again(
    sandbox: Sandbox, datapath: NodeDatapath
) -> None:
    datapath.tables.apply(web())
    with closing(words(datapath)) as table:
        table.publish(layout.filter_bit(pack_address(SERVICE4)) // 64, 0, 0)
    with pytest.raises(AssertionError, match="unreachable"):
        sandbox.run(lambda: ask_tcp(SERVICE4, 80))
    MapWriter(datapath.pins.maps).close()
    assert sandbox.run(lambda: ask_tcp(SERVICE4, 80))[0] in BACKENDS4[:2]


def test_two_addresses_that_share_a_bit_do_not_take_it_from_each_other(
    sandbox: Sandbox, datapath: NodeDatapath
) -> None:
    first, second = two_addresses_with_one_bit()
    put = {frontend(first): serving(BACKENDS4[0]), frontend(second): serving(BACKENDS4[1])}
    datapath.tables.apply(Difference(put=put))
    datapath.tables.apply(Difference(delete=frozenset({frontend(first)})))
    assert sandbox.run(lambda: ask_tcp(second, 80))[0] == BACKENDS4[1]


def test_a_bit_lives_as_long_as_anything_with_its_address(datapath: NodeDatapath) -> None:
    node = frozenset({pack_address("172.18.0.9")})
    datapath.tables.apply(web())
    datapath.tables.apply(Difference(add=Addresses(nodes=node)))
    expected = {f.address for f in web().put} | node
    assert bits(datapath) == {layout.filter_bit(address) for address in expected}
    datapath.tables.apply(Difference(delete=frozenset(web().put)))
    assert bits(datapath) == {layout.filter_bit(address) for address in expected}, "the ClusterIPs are still refused"
    datapath.tables.apply(Difference(remove=Addresses(web().add.services, node)))
    assert bits(datapath) == set()


def test_bits_that_an_agent_left_without_need_are_cleared_by_the_next(datapath: NodeDatapath) -> None:
    with closing(words(datapath)) as table:
        table.publish(7, 0, 1 << 5)
    MapWriter(datapath.pins.maps).close()
    assert bits(datapath) == set()
