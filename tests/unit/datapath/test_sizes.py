"""Two numbers say how large every table is, and how far it grows."""

from __future__ import annotations

import pytest

from socklb.datapath.sizes import MOST, Sizes, promised


@pytest.mark.parametrize("sizes", [Sizes(1, 1), Sizes(4, 8), Sizes(), MOST])
def test_every_table_follows_from_two_numbers(sizes: Sizes) -> None:
    tables = sizes.by_table()
    larger = Sizes(2 * sizes.frontends, 2 * sizes.backends).by_table()
    assert promised(tables["backends"]) == sizes.backends
    assert tables["loads"] > sizes.backends
    assert tables["service_addrs"] == tables["frontend_rows"] == sizes.frontends
    assert all(larger[name] >= entries for name, entries in tables.items())


@pytest.mark.parametrize(
    ("needed", "expected"),
    [
        ({}, Sizes(8, 16)),
        ({"frontends": 8, "backends": 16}, Sizes(8, 16)),
        ({"frontends": 9}, Sizes(16, 16)),
        ({"service_addrs": 33}, Sizes(64, 16)),
        ({"backends": 65}, Sizes(8, 128)),
        ({"frontends": 5000, "backends": 17}, Sizes(100, 32)),
        ({"own_addrs": 1025}, Sizes(100, 16)),
    ],
)
def test_they_double_until_all_fits_or_they_are_as_large_as_they_may_be(
    needed: dict[str, int], expected: Sizes
) -> None:
    assert Sizes(8, 16).enough_for(needed, Sizes(100, 1000)) == expected


def test_tables_that_are_larger_than_they_may_be_stay_so() -> None:
    assert Sizes(64, 64).enough_for({"frontends": 100}, Sizes(8, 8)) == Sizes(64, 64)
