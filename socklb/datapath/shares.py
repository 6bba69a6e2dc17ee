"""How many backends each frontend gets if not all fit. Pure.

    for frontend, backends in shares(wanted, published, sets): …

Room is counted as it will be once all sets are published: a set without users makes room, and equal sets count once.
What a frontend has and keeps may stay, even beyond the limit, for up to half of the surplus rows (`BackendSets`), so
that fewer endpoints always fit; and a frontend that is served already gets at least one backend. Then come frontends
that want more, then new ones, each with as many backends as there is room left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from socklb.datapath import layout
from socklb.datapath.backend_sets import BackendSets
from socklb.datapath.published import Published
from socklb.model import Backend, Frontend, Serving

Share = tuple[Frontend, tuple[Backend, ...]]


def shares(
    wanted: Mapping[Frontend, Serving], published: Mapping[Frontend, Published], sets: BackendSets
) -> list[Share]:
    """Return the backends that each frontend gets, in the order in which they are to be placed."""
    room, asked = sets.room, sum(len(serving.backends) for serving in wanted.values())
    if asked > room:
        leaving = Counter(now.word for frontend in wanted if (now := published.get(frontend)) and now.word)
        room += sum(sets.size(word) for word, users in leaving.items() if users == sets.users_of(word))
        if asked > room:
            return list(_cut(wanted, published, sets, leaving, room))
    return [(frontend, serving.backends) for frontend, serving in wanted.items()]


def _cut(
    wanted: Mapping[Frontend, Serving],
    published: Mapping[Frontend, Published],
    sets: BackendSets,
    leaving: Mapping[int, int],
    room: int,
) -> Iterator[Share]:
    granted: set[tuple[bool, bytes]] = set()
    before = {frontend: sets.read(now.word) for frontend in wanted if (now := published.get(frontend))}

    def cost(backends: tuple[Backend, ...], *, counted: bool) -> int:
        rows = layout.pack_backends(backends)
        word = sets.find(rows, counted=counted)
        stays = word and leaving.get(word, 0) < sets.users_of(word)
        return 0 if stays or (counted, rows) in granted else len(backends)

    def growth(frontend: Frontend) -> tuple[bool, int]:
        return frontend not in before, len(wanted[frontend].backends) - len(before.get(frontend, ()))

    parts: dict[Serving, tuple[Backend, ...]] = {}  # what others with the same wish got
    for frontend in sorted(wanted, key=growth):
        serving, old = wanted[frontend], before.get(frontend)
        backends = serving.backends
        needed = cost(backends, counted=serving.least_loaded)
        if needed and needed > room:
            kept = len(set(old or ()).intersection(backends))
            count = max(room, min(kept, room + sets.surplus // 2), 0 if old is None else 1)
            backends = some_of(backends, old or (), count)
            part = parts.setdefault(Serving(serving.backends, least_loaded=serving.least_loaded), backends)
            if len(part) > len(backends) and len(set(old or ()).intersection(part)) == kept:
                backends = part
        room -= cost(backends, counted=serving.least_loaded)
        granted.add((serving.least_loaded, layout.pack_backends(backends)))
        yield frontend, backends


def some_of(backends: tuple[Backend, ...], kept: tuple[Backend, ...], count: int) -> tuple[Backend, ...]:
    """Return `count` of the backends, preferring those in `kept`."""
    known = set(kept)
    return tuple(sorted(backends, key=lambda backend: backend not in known)[:count])
