"""Ranges of rows are handed out once, rest once given back, and are found again in whatever gaps there are."""

from __future__ import annotations

import random

import pytest

from socklb.datapath.allocator import NoRoomError, RangeAllocator


class Readers:
    """Counts how often somebody waited for the readers to leave."""

    def __init__(self) -> None:
        self.waits = 0

    def wait(self) -> None:
        self.waits += 1


@pytest.fixture
def readers() -> Readers:
    return Readers()


def test_fresh_rows_come_before_rested_ones(readers: Readers) -> None:
    rows = RangeAllocator(10, readers.wait)
    first = rows.take(3)
    rows.give_back(first, 3)
    assert rows.take(3) == 3
    assert readers.waits == 0


def test_a_range_is_used_again_only_after_readers_have_left(readers: Readers) -> None:
    rows = RangeAllocator(4, readers.wait)
    base = rows.take(4)
    rows.give_back(base, 4)
    assert rows.take(4) == base
    assert readers.waits == 1


def test_neighbouring_gaps_become_one(readers: Readers) -> None:
    rows = RangeAllocator(6, readers.wait)
    bases = [rows.take(2) for _ in range(3)]
    rows.give_back(bases[0], 2)
    rows.give_back(bases[1], 2)
    assert rows.take(4) == 0


def test_a_longer_gap_serves_a_shorter_range(readers: Readers) -> None:
    rows = RangeAllocator(6, readers.wait)
    rows.give_back(rows.take(6), 6)
    assert [rows.take(2), rows.take(3), rows.take(1)] == [0, 2, 5]


def test_without_a_gap_there_is_no_room_and_nothing_is_lost(readers: Readers) -> None:
    rows = RangeAllocator(4, readers.wait)
    bases = [rows.take(1) for _ in range(4)]
    rows.give_back(bases[0], 1)
    rows.give_back(bases[2], 1)
    with pytest.raises(NoRoomError, match="2 rows in sequence of 4, 2 used"):
        rows.take(2)
    assert {rows.take(1), rows.take(1)} == {0, 2}


def test_a_full_table_looks_for_gaps_once_until_something_is_given_back(
    readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches = 0
    search = RangeAllocator._rebuild

    def counted(rows: RangeAllocator) -> None:
        nonlocal searches
        searches += 1
        search(rows)

    monkeypatch.setattr(RangeAllocator, "_rebuild", counted)
    rows = RangeAllocator(8, readers.wait)
    bases = [rows.take(2) for _ in range(4)]
    rows.give_back(bases[2], 2)
    for _ in range(100):
        with pytest.raises(NoRoomError):
            rows.take(3)
    assert (searches, readers.waits) == (1, 1)
    rows.give_back(bases[1], 2)
    assert rows.take(3) == 2
    assert (searches, readers.waits) == (2, 2)


def test_the_shortest_gap_that_is_long_enough_is_cut(readers: Readers) -> None:
    rows = RangeAllocator(14, readers.wait)
    bases = [rows.take(length) for length in (5, 1, 4, 4)]
    rows.give_back(bases[0], 5)
    rows.give_back(bases[2], 4)
    assert [rows.take(2) for _ in range(2)] == [6, 8]
    assert rows.take(5) == 0
    assert readers.waits == 1


def test_what_a_table_holds_already_is_not_handed_out(readers: Readers) -> None:
    rows = RangeAllocator(10, readers.wait)
    rows.adopt([(2, 3), (8, 1)])
    assert rows.used == 4
    taken = {rows.take(1) for _ in range(6)}
    assert taken == {0, 1, 5, 6, 7, 9}


@pytest.mark.parametrize("sharing", [False, True], ids=("apart", "some share rows"))
def test_what_is_handed_out_nobody_holds_and_no_row_gets_lost(readers: Readers, sharing: bool) -> None:
    """A long random life, checked row by row against a naive count."""
    dice = random.Random(23)
    rows, held = RangeAllocator(64, readers.wait), set[tuple[int, int]]()
    for _ in range(5000):
        if held and dice.random() < 0.5:
            base, count = dice.choice(sorted(held))
            part = base + dice.randrange(count), 1
            if sharing and part not in held and dice.random() < 0.3:
                rows.share(*part)
                held.add(part)
            else:
                rows.give_back(base, count)
                held.remove((base, count))
            continue
        count = dice.randint(1, 6)
        used = {row for start, length in held for row in range(start, start + length)}
        try:
            base = rows.take(count)
        except NoRoomError:
            assert not any(used.isdisjoint(range(start, start + count)) for start in range(65 - count))
            continue
        assert base + count <= 64
        assert used.isdisjoint(range(base, base + count))
        held.add((base, count))
        assert rows.used == sum(length for _, length in held)
