"""The programs on devices: attached, checked, and restored if somebody removed one.

links = Links(programs, pins)
links.keep(places([2, 3]))          # returns what failed; programs at other places are removed
links.lacking(places([2, 3]))       # {} as long as nobody interferes
links.close()                       # everything continues to run
remove(pins)                        # nothing runs any more: only for `socklb cleanup`
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from socklb.datapath.libbpf import Program
from socklb.errors import SocklbError
from socklb.tc import lo, rtnetlink, tcx
from socklb.tc.clsact import Clsact
from socklb.tc.places import Attacher, Place
from socklb.tc.tcx import Tcx


class Links:
    """See the module."""

    def __init__(self, programs: Mapping[str, Program], pins: Path, *, by_tcx: bool | None = None) -> None:
        """Attach nothing yet. `by_tcx`: whether to use tcx links; None: if the kernel has them.

        Raises:
            BpfError: the kernel does not say whether it has them.
        """
        by_tcx = tcx.FEATURE.there() if by_tcx is None else by_tcx
        self._by: Attacher = Tcx(programs, pins) if by_tcx else Clsact(programs, devices)
        self.found: dict[Place, str] = {}  # what `keep` found wrong last time
        self.failed: set[Place] = set()  # where it could not repair that

    @property
    def name(self) -> str:
        """Return the kernel's mechanism that is used."""
        return self._by.name

    def there(self) -> set[Place]:
        """Return the places where a program of ours is, including an earlier agent's."""
        return self._by.there()

    def keep(self, wanted: Collection[Place]) -> list[str]:
        """Make our programs run at these places and nowhere else; return what failed, with the reasons.

        A device that cannot be served does not stop the others from being served.
        """
        failures: list[str] = []
        for place in self._by.there().difference(wanted):
            _try(failures, self._by.take_away, place)
        self.found = self.lacking(wanted)
        self.failed = {place for place in self.found if not _try(failures, self._by.put_back, place)}
        return failures

    def lacking(self, wanted: Collection[Place]) -> dict[Place, str]:
        """Return the places where a program does not run as it should, and what is wrong."""
        found = {place: self._by.wrong(place) for place in wanted}
        return {place: text for place, text in found.items() if text}

    def close(self) -> None:
        """Close the descriptors; what is attached stays attached."""
        self._by.close()


def remove(pins: Path) -> int:
    """Detach all that an agent left, by either mechanism; return at how many places.

    Raises:
        BpfError: the kernel refused.
        OSError: netlink refused.
    """
    count = 0
    for by in (Tcx({}, pins), Clsact({}, devices)):
        found = by.there()
        for place in found:
            by.take_away(place)
        by.close()
        count += len(found)
    lo.give_back(pins.parent)
    return count


def devices() -> list[int]:
    """Return the ifindexes of all devices of this network namespace."""
    return [device.ifindex for device in rtnetlink.read().devices]


def _try(failures: list[str], act: Callable[[Place], None], place: Place) -> bool:
    try:
        act(place)
    except (SocklbError, OSError) as error:
        failures.append(str(error))
        return False
    return True
