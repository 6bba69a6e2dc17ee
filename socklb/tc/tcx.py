"""Programs on devices by tcx links (Linux 6.6), pinned: <bpffs>/socklb/v3/tc/links/uplink_in-2.

    tcx = Tcx(programs, pins)
    tcx.put_back(Place("uplink_in", 2))

They run after programs of others that were there before, and tools that manage filters of clsact do not see them. A
link is removed with its device. A pin's name has the device's ifindex instead of its name, because the BPF file system
reserves names with a dot.
"""

from __future__ import annotations

import ctypes as ct
import errno
import os
from collections.abc import Mapping
from pathlib import Path

from socklb.datapath import libbpf
from socklb.datapath.features import Feature
from socklb.datapath.libbpf import BpfError, Program
from socklb.datapath.links import detach
from socklb.tc.places import Place

TCX_INGRESS, TCX_EGRESS = 46, 47  # enum bpf_attach_type
LO = 1  # in every network namespace


class LinkInfo(ct.Structure):
    """`struct bpf_link_info` of a tcx link. A link that was detached, or whose device was removed, has ifindex 0."""

    _fields_ = (
        ("type", ct.c_uint32),
        ("id", ct.c_uint32),
        ("prog_id", ct.c_uint32),
        ("pad", ct.c_uint32),
        ("ifindex", ct.c_uint32),
        ("attach_type", ct.c_uint32),
        ("reserve", ct.c_uint8 * 256),
    )


def _works() -> bool:
    try:
        libbpf.query_programs(LO, TCX_INGRESS)
    except BpfError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


FEATURE = Feature(
    "tcx links", "6.6", "a program at a device costs 0.16 us a packet more, as a filter of clsact", _works
)


class Tcx:
    """See the module."""

    name = "tcx"

    def __init__(self, programs: Mapping[str, Program], pins: Path) -> None:
        """Attach nothing yet."""
        self._programs, self._pins = programs, pins
        self._open: dict[Place, int] = {}

    def there(self) -> set[Place]:
        """Return the places where a link of ours is pinned, even if the device was removed."""
        return {_place(pin.name) for pin in self._pins.iterdir()} if self._pins.is_dir() else set()

    def runs(self, place: Place) -> bool:
        """Return whether a program of ours, of any version, runs there."""
        return self._held(place) is not None

    def wrong(self, place: Place) -> str:
        """Return what is wrong there; empty: nothing."""
        link = self._open.get(place)
        info = _info(link, place) if link is not None else None
        if info is None or info.ifindex != place.ifindex:
            return "not attached"
        if info.prog_id != self._programs[place.program].id:
            return "running a program that is not ours"
        return "" if self._is_pinned(place, info.id) else "not pinned"

    def put_back(self, place: Place) -> None:
        """Make our program run there: an existing link is updated in place."""
        program = self._programs[place.program]
        link = self._held(place)
        if link is None:
            kind = TCX_INGRESS if place.ingress else TCX_EGRESS
            link = int(libbpf.call(f"attach {_text(place)}", "bpf_link_create", program.fd, place.ifindex, kind, None))
            self._open[place] = link
        elif _info(link, place).prog_id != program.id:
            libbpf.update_link(link, program.fd, _text(place))
        if not self._is_pinned(place, _info(link, place).id):
            self._pins.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._pin(place).unlink(missing_ok=True)
            libbpf.pin(link, self._pin(place))

    def take_away(self, place: Place) -> None:
        """Detach it at once."""
        link = self._held(place)
        if link is not None:
            detach(link, _text(place))
            os.close(self._open.pop(place))
        self._pin(place).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the links; those that are pinned stay attached."""
        for link in self._open.values():
            os.close(link)
        self._open.clear()

    def _held(self, place: Place) -> int | None:
        """Return a link that is attached where it should be: ours, or the one that an earlier agent pinned."""
        if place not in self._open:
            pinned = libbpf.find_pinned(self._pin(place))
            if pinned is None:
                return None
            self._open[place] = pinned
        link = self._open[place]
        if _info(link, place).ifindex == place.ifindex:
            return link
        os.close(self._open.pop(place))
        return None

    def _is_pinned(self, place: Place, number: int) -> bool:
        pinned = libbpf.find_pinned(self._pin(place))
        if pinned is None:
            return False
        try:
            return _info(pinned, place).id == number
        finally:
            os.close(pinned)

    def _pin(self, place: Place) -> Path:
        return self._pins / f"{place.program}-{place.ifindex}"


def _place(name: str) -> Place:
    program, _, ifindex = name.rpartition("-")
    return Place(program, int(ifindex))


def _text(place: Place) -> str:
    return f"{place.program} to device {place.ifindex}"


def _info(link: int, place: Place) -> LinkInfo:
    info = LinkInfo()
    libbpf.object_info(link, info, f"the link of {_text(place)}")
    return info
