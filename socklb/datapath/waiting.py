"""Frontends for which the tables have no room, and which of them is next when there is some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice

from socklb.model import Backend, Frontend, Serving

_Set = tuple[bool, tuple[Backend, ...]]
TOGETHER = 16  # limits the cost of a change, however many wait


class Waiting:
    """Frontends that are not served, or that lack some of their backends, in order of arrival.

    There may be tens of thousands. None of them is looked at unless there is other room than last time.
    """

    def __init__(self, is_there: Callable[[Serving], bool]) -> None:
        """Start empty. is_there: whether a serving needs no room for backends, because its set is in the tables."""
        self._is_there = is_there
        self.all: dict[Frontend, Serving] = {}
        self._served: dict[Frontend, None] = {}  # those that lack backends
        self._lack_rows: dict[Frontend, None] = {}  # those that need a row but no backends; may be out of date
        self._by_set: dict[_Set, dict[Frontend, None]] = {}
        self._asked = (0, 0)  # the room for frontends and backends last time
        self._more = False  # whether others wait since

    def put(self, frontend: Frontend, serving: Serving, *, served: bool) -> None:
        """Make a frontend wait, after all others if it did not wait yet."""
        before = self.all.get(frontend)
        self._more = self._more or before != serving
        if before is not None:
            self._drop(frontend, before)
        self.all[frontend] = serving
        self._by_set.setdefault(_set_of(serving), {})[frontend] = None
        if served:
            self._served[frontend] = None
        else:
            self._served.pop(frontend, None)
            if self._is_there(serving):
                self._lack_rows[frontend] = None

    def there_is(self, serving: Serving) -> None:
        """Note that a set is in the tables now."""
        for frontend in self._by_set.get(_set_of(serving), ()):
            if frontend not in self._served and frontend not in self._lack_rows:
                self._lack_rows[frontend] = None
                self._more = True

    def forget(self, frontend: Frontend) -> None:
        """Remove a frontend that no longer waits."""
        if self.all and (serving := self.all.pop(frontend, None)) is not None:
            self._drop(frontend, serving)

    def beside(self, wanted: Mapping[Frontend, Serving], rows: int) -> dict[Frontend, Serving]:
        """Return those that are to be placed together with `wanted`, with at most `rows` new ones.

        They want the same sets; or they are served, and placing all of them together may need less room than one after
        the other.
        """
        found = {frontend: self.all[frontend] for frontend in islice(self._served, TOGETHER)}
        for serving in wanted.values():
            for frontend in self._by_set.get(_set_of(serving), ()):
                new = frontend not in self._served
                if not new or rows > 0:
                    found[frontend] = self.all[frontend]
                    rows -= new
        return found

    def for_room(self, rows: int, backends: int, missing: Callable[[Frontend], int]) -> dict[Frontend, Serving]:
        """Return those that can use room for `rows` frontends and `backends`; none if the room is the same as last
        time.

        Those that are served come first: `missing` returns how many backends one of them lacks.
        """
        before, self._asked = self._asked, (rows, backends)
        more, self._more = self._more, False
        if not self.all or (before == self._asked and not more):
            return {}
        found: dict[Frontend, Serving] = {}
        for frontend in self._served:
            if backends <= 0:
                break
            found[frontend] = self.all[frontend]
            backends -= missing(frontend)
        if rows > 0:
            found |= self._not_served(rows, backends)
        return found

    def _not_served(self, rows: int, backends: int) -> dict[Frontend, Serving]:
        """Return `rows` new frontends: first those that need no room for backends, then others as far as `backends`
        reach.
        """
        found: dict[Frontend, Serving] = {}
        for frontend in list(self._lack_rows):
            if len(found) == rows:
                return found
            if self._is_there(self.all[frontend]):
                found[frontend] = self.all[frontend]
            else:
                del self._lack_rows[frontend]
        if backends <= 0:
            return found
        for frontend, serving in self.all.items():
            if frontend in self._served or frontend in found:
                continue
            found[frontend] = serving
            backends -= len(serving.backends)
            if len(found) == rows or backends <= 0:
                break
        return found

    def _drop(self, frontend: Frontend, serving: Serving) -> None:
        same = self._by_set[_set_of(serving)]
        del same[frontend]
        if not same:
            del self._by_set[_set_of(serving)]
        self._served.pop(frontend, None)
        self._lack_rows.pop(frontend, None)


def _set_of(serving: Serving) -> _Set:
    return serving.least_loaded, tuple(sorted(serving.backends))
