"""The programs at the uplinks: attached, looked at, and put back where somebody took one away.

links = Links(programs, pins, devices)
links.keep([2, 3])          # what could not be done; what is no uplink any more is let go
links.lacking([2, 3])       # {} for as long as nobody meddles
links.close()               # everything goes on running
remove(pins)                # nothing does any more: `socklb cleanup` alone
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from socklb.datapath.libbpf import Program
from socklb.errors import SocklbError
from socklb.tc import rtnetlink, tcx
from socklb.tc.clsact import Clsact
from socklb.tc.places import INGRESS, Attacher, Place
from socklb.tc.tcx import Tcx


class Links:
    """See the module."""

    def __init__(self, programs: Mapping[str, Program], pins: Path, *, by_tcx: bool | None = None) -> None:
        """Attach nothing yet. `by_tcx`: whether by tcx links; None: where the kernel has them.

        Raises:
            BpfError: the kernel does not say whether it has them.
        """
        pins.mkdir(mode=0o700, parents=True, exist_ok=True)
        by_tcx = tcx.FEATURE.there() if by_tcx is None else by_tcx
        self._by: Attacher = Tcx(programs, pins) if by_tcx else Clsact(programs, devices)

    @property
    def name(self) -> str:
        """By which way of the kernel."""
        return self._by.name

    def keep(self, ifindexes: Collection[int]) -> list[str]:
        """Have our programs run at these devices and at no others; give what could not be done, with the reasons.

        One device that cannot be served does not keep the others from it.
        """
        failures: list[str] = []
        for place in self._by.there() - set(places(ifindexes)):
            _try(failures, self._by.take_away, place)
        for place in places(ifindexes):
            if self._by.wrong(place):
                _try(failures, self._by.put_back, place)
        return failures

    def lacking(self, ifindexes: Collection[int]) -> dict[Place, str]:
        """Say where a program does not run as it should, and what is wrong."""
        found = {place: self._by.wrong(place) for place in places(ifindexes)}
        return {place: text for place, text in found.items() if text}

    def close(self) -> None:
        """Let go; what is attached stays attached."""
        self._by.close()


def places(ifindexes: Collection[int]) -> Iterator[Place]:
    """Give where programs are to be: what changes sources at a device's egress stands before what it undoes."""
    return (Place(program, ifindex) for ifindex in ifindexes for program in reversed(INGRESS))


def remove(pins: Path) -> int:
    """Detach all that an agent left, in whichever way; give at how many places.

    Raises:
        BpfError: the kernel refused.
        OSError: netlink refused.
    """
    count = 0
    for by in (*([Tcx({}, pins)] if pins.is_dir() else []), Clsact({}, devices)):
        found = by.there()
        for place in found:
            by.take_away(place)
        by.close()
        count += len(found)
    return count


def devices() -> list[int]:
    """Give the numbers of all devices of this network namespace."""
    return [device.ifindex for device in rtnetlink.read().devices]


def _try(failures: list[str], act: Callable[[Place], None], place: Place) -> None:
    try:
        act(place)
    except (SocklbError, OSError) as error:
        failures.append(str(error))
