"""The last known objects of the API server, which changes of them have not been passed on yet, and which are left out.

    known.note(found)
    known.forget(("Service", "default/web"))
    changes = known.take()

An object that is sent again without a change is ignored. Not thread-safe.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from socklb.api.checks import ObjectError
from socklb.api.findings import ObjectId
from socklb.api.objects import Object
from socklb.api.reading import Read
from socklb.api.source import Change, Problem
from socklb.api.troubles import Troubles
from socklb.errors import SocklbError

PLACE = "Kubernetes API"
UNSURE = object()  # passed on or not is unknown; no object is equal to this

log = logging.getLogger(__name__)


class Known:
    """See the module."""

    def __init__(self, kinds: Iterable[str], found: Callable[[Object], None]) -> None:
        """Start empty. `found` is called with each object that is new or changed."""
        self._objects: dict[str, dict[str, Object]] = {kind: {} for kind in kinds}
        self._untold: dict[ObjectId, object] = {}  # what changed, as last passed on: an Object, None or UNSURE
        self._troubles: Troubles[ObjectId] = Troubles()
        self._found = found

    @property
    def problems(self) -> list[Problem]:
        """Return what is left out, by name."""
        return sorted(self._troubles.problems, key=lambda problem: problem.object)

    @property
    def news(self) -> bool:
        """Return whether something changed since the last `take`."""
        return bool(self._untold)

    def take(self) -> tuple[Change, ...]:
        """Return what changed since the last time."""
        before, self._untold = self._untold, {}
        now = {(kind, key): self._objects[kind].get(key) for kind, key in sorted(before)}
        return tuple(Change(*id_, found) for id_, found in now.items() if found != before[id_])

    def tell_again(self, lost: Iterable[Change]) -> None:
        """Pass everything on once more; `lost` are changes that were taken and not used."""
        self._untold.update(((kind, key), UNSURE) for kind, key, _ in lost)
        for kind, objects in self._objects.items():
            self._untold.update(((kind, key), UNSURE) for key in objects)

    def replace(self, kind: str, found: Iterable[Read], belongs: Callable[[str], bool]) -> None:
        """Take over a list of the objects of a kind whose key satisfies `belongs`; others of them are deleted."""
        found = [one for one in found if one.id is None or belongs(one.id[1])]
        present = {one.id for one in found}
        for key in [key for key in self._objects[kind] if belongs(key) and (kind, key) not in present]:
            self._put((kind, key), None)
        self._troubles.settle_where(lambda id_: id_[0] == kind and belongs(id_[1]) and id_ not in present)
        for one in found:
            self.note(one)

    def note(self, found: Read) -> None:
        """Take over an object. If it could not be decoded, keep its last state."""
        if isinstance(found.object, SocklbError):
            self._left_out(found.id, found.object)
        elif found.id:
            if self._troubles.settle(found.id):
                log.info("no longer a problem: %s", "/".join(found.id))
            self._put(found.id, found.object)

    def forget(self, id_: ObjectId) -> None:
        """Take over that an object is deleted."""
        self._troubles.settle(id_)
        self._put(id_, None)

    def _left_out(self, id_: ObjectId | None, error: SocklbError) -> None:
        field = error.field if isinstance(error, ObjectError) else ""
        problem = Problem(PLACE, 0, field, str(error), "/".join(id_) if id_ else "")
        if self._troubles.note(id_ or ("", ""), problem):
            log.warning("left out: %s", problem)

    def _put(self, id_: ObjectId, found: Object | None) -> None:
        kind, key = id_
        before = self._objects[kind].get(key)
        if before == found:
            return
        self._untold.setdefault(id_, before)
        if found is None:
            del self._objects[kind][key]
        else:
            self._objects[kind][key] = found
            self._found(found)
