"""Allocation of ranges of rows in a table. A freed range is reused only when no reader can still hold it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable


class NoRoomError(Exception):
    """No range of that length is free."""


class RangeAllocator:
    """Ranges of rows in a table of `capacity` rows.

    Ranges may share rows (`share`); each counts in full.

    Fresh rows are used first, then free ranges of the same length, then the shortest range that is long enough, then
    gaps between neighbours, joined. A range that is given back rests until `wait_for_readers` has returned once, which
    is called only when rows run short.
    """

    def __init__(self, capacity: int, wait_for_readers: Callable[[], None]) -> None:
        self.capacity = capacity
        self.used = 0
        self._wait_for_readers = wait_for_readers
        self._held: set[int] = set()  # one number per range, half the memory of a pair: see `_pack`
        self._fresh = (0, capacity)  # first row, and the row after the last
        self._free: defaultdict[int, list[int]] = defaultdict(list)
        self._resting: list[tuple[int, int]] = []
        self._scattered = False  # whether free ranges may be neighbours
        self._shared = False  # whether ranges may share rows

    def adopt(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Take over the ranges (base, count) that a table holds already; the rows between them are free."""
        self._held = {_pack(base, count) for base, count in ranges}
        self.used = sum(count for _, count in map(_unpack, self._held))
        self._rebuild()

    def take(self, count: int) -> int:
        """Return the first of `count` consecutive rows.

        Raises:
            NoRoomError: there are none.
        """
        base = self._find(count)
        if base is None and self._resting:
            self._end_rest()
            base = self._find(count)
        if base is None and self._scattered:  # otherwise all gaps are known; a full table need not search again
            self._rebuild()
            base = self._find(count)
        if base is None:
            raise NoRoomError(f"{count} rows in sequence of {self.capacity}, {self.used} used")
        self._held.add(_pack(base, count))
        self.used += count
        return base

    def share(self, base: int, count: int) -> None:
        """Hold rows that another range holds too."""
        self._held.add(_pack(base, count))
        self.used += count
        self._shared = True

    def give_back(self, base: int, count: int) -> None:
        """Free a range, which no word may refer to any more."""
        self._held.remove(_pack(base, count))
        self.used -= count
        self._resting.append((base, count))

    def longest(self) -> int:
        """Return how many consecutive rows can be taken at once, after all freed ranges have rested."""
        self._end_rest()
        self._rebuild()
        start, end = self._fresh
        return end - start

    def slide(self, move: Callable[[int, int, int], None]) -> None:
        """Move ranges towards the beginning, so that the gaps between them become one gap at the end.

        A range moves into the gap before it only if the gap is long enough, because its old rows stay intact until
        their readers have left. `move(base, count, to)` copies a range and redirects everything to the copy. A gap that
        stays is shorter than the range behind it, so all such gaps together are shorter than all that is held.
        """
        self._end_rest()
        end, left = 0, self.capacity  # row after the last range; first row that may still have readers
        for base, count in map(_unpack, sorted(self._held)):
            if base - end >= count:
                if end + count > left:
                    self._wait_for_readers()
                    left = self.capacity
                move(base, count, end)
                self._held.remove(_pack(base, count))
                self._held.add(_pack(end, count))
                left = min(left, base)
                end += count
            else:
                end = max(end, base + count)
        if left < self.capacity:
            self._wait_for_readers()
        self._rebuild()

    def _find(self, count: int) -> int | None:
        start, end = self._fresh
        if end - start >= count:
            self._fresh = (start + count, end)
            return start
        lengths = [count] if self._free.get(count) else [n for n, bases in self._free.items() if n > count and bases]
        if not lengths:
            return None
        length = min(lengths)
        start = self._free[length].pop()
        if length > count:
            self._free[length - count].append(start + count)
        return start

    def _end_rest(self) -> None:
        if not self._resting:
            return
        self._wait_for_readers()
        rested, self._resting = self._resting, []
        if self._shared:  # another range may still hold some of the rows
            self._rebuild()
            return
        for base, count in rested:
            self._free[count].append(base)
        self._scattered = True

    def _rebuild(self) -> None:
        """Free the gaps between held and resting ranges; the longest one becomes the fresh one."""
        self._free.clear()
        self._scattered = self._shared = False
        gaps: list[tuple[int, int]] = []
        row = 0
        for base, count in sorted([*map(_unpack, self._held), *self._resting, (self.capacity, 0)]):
            if base > row:
                gaps.append((row, base))
            self._shared = self._shared or base < row
            row = max(row, base + count)
        gaps.sort(key=lambda gap: gap[1] - gap[0])
        self._fresh = gaps.pop() if gaps else (self.capacity, self.capacity)
        for start, end in gaps:
            self._free[end - start].append(start)


def _pack(base: int, count: int) -> int:
    return base << 32 | count


def _unpack(held: int) -> tuple[int, int]:
    return held >> 32, held & 0xFFFFFFFF
