"""Programs on devices as filters of the queueing discipline clsact (Linux 4.5), if the kernel has no tcx links.

    clsact = Clsact(programs, devices)
    clsact.put_back(Place("uplink_in", 2))

Each filter has its own priority and handle, and no filter of another owner is replaced: one with the same priority and
handle is an error. Filters in front of it run first; if they accept a packet for good, ours do not see it.
"""

from __future__ import annotations

import ctypes as ct
import errno
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress

from socklb.datapath import libbpf
from socklb.datapath.libbpf import BpfError, Program
from socklb.errors import SocklbError
from socklb.netlink import DUMP, attributes, exchange
from socklb.tc.places import INGRESS, Place
from socklb.tc.rtnetlink import NETLINK_ROUTE

PRIORITY, HANDLE = 0x736C, 0x736C  # "sl": no program's default
INGRESS_POINT, EGRESS_POINT = 1, 2  # enum bpf_tc_attach_point
REPLACE = 1  # BPF_TC_F_REPLACE
GET_FILTER, TCMSG = 46, struct.Struct("=B3xiIII")
FILTER_KIND, FILTER_OPTIONS, BPF_NAME = 1, 2, 7  # TCA_KIND, TCA_OPTIONS, TCA_BPF_NAME
PARENTS = {INGRESS_POINT: 0xFFFFFFF2, EGRESS_POINT: 0xFFFFFFF3}


class Hook(ct.Structure):
    """`struct bpf_tc_hook`."""

    _fields_ = (("sz", ct.c_size_t), ("ifindex", ct.c_int), ("attach_point", ct.c_int), ("parent", ct.c_uint32))


class Options(ct.Structure):
    """`struct bpf_tc_opts`."""

    _fields_ = (
        ("sz", ct.c_size_t),
        ("prog_fd", ct.c_int),
        ("flags", ct.c_uint32),
        ("prog_id", ct.c_uint32),
        ("handle", ct.c_uint32),
        ("priority", ct.c_uint32),
    )


class Clsact:
    """See the module. `devices` returns the ifindexes of all devices."""

    name = "clsact"

    def __init__(self, programs: Mapping[str, Program], devices: Callable[[], Iterable[int]]) -> None:
        """Attach nothing yet."""
        self._programs, self._devices = programs, devices

    def there(self) -> set[Place]:
        """Return the places where a filter of ours is."""
        everywhere = (Place(program, ifindex) for ifindex in self._devices() for program in INGRESS)
        return {place for place in everywhere if self.runs(place)}

    def runs(self, place: Place) -> bool:
        """Return whether a program of that name is there, of any version of socklb."""
        found = program_at(place)
        return found is not None and libbpf.program_name(found) == place.program

    def wrong(self, place: Place) -> str:
        """Return what is wrong there; empty: nothing."""
        found = program_at(place)
        if found is None:
            return "not attached"
        return "" if found == self._programs[place.program].id else "running a program that is not ours"

    def put_back(self, place: Place) -> None:
        """Make our program run there: an existing filter is replaced atomically.

        Raises:
            SocklbError: a filter of another owner is in its place.
        """
        _make_room(place)
        if program_at(place) is not None and not self.runs(place):
            text = f"a filter of somebody else is in the place of ours at device {place.ifindex}"
            raise SocklbError(text, value=f"priority {PRIORITY}, handle {HANDLE:#x}", hint="tc filter show dev DEVICE")
        options = _options(prog_fd=self._programs[place.program].fd, flags=REPLACE)
        libbpf.call(f"attach {_text(place)}", "bpf_tc_attach", ct.byref(_hook(place)), ct.byref(options))

    def take_away(self, place: Place) -> None:
        """Remove the filter, and clsact if it was the last one."""
        if self.runs(place):
            libbpf.call(f"detach {_text(place)}", "bpf_tc_detach", ct.byref(_hook(place)), ct.byref(_options()))
        if not any(_filters(place.ifindex, point) for point in PARENTS):
            both = Hook(ct.sizeof(Hook), place.ifindex, INGRESS_POINT | EGRESS_POINT)
            with suppress(BpfError):  # it was removed already
                libbpf.call(f"remove clsact from device {place.ifindex}", "bpf_tc_hook_destroy", ct.byref(both))

    def close(self) -> None:
        """Close the descriptors; the filters stay."""


def _make_room(place: Place) -> None:
    try:
        libbpf.call(f"add clsact to device {place.ifindex}", "bpf_tc_hook_create", ct.byref(_hook(place)))
    except BpfError as error:
        if error.errno != errno.EEXIST:
            raise


def program_at(place: Place) -> int | None:
    """Return the id of the program at our priority and handle."""
    options = _options()
    try:
        libbpf.call(f"look for {_text(place)}", "bpf_tc_query", ct.byref(_hook(place)), ct.byref(options))
    except BpfError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL, errno.ENODEV):  # no filter, no clsact, no device
            raise
        return None
    return int(options.prog_id)


def filters_of(ifindex: int) -> Iterator[str]:
    """Yield all filters of a device: direction, priority and kind, and for a program its name."""
    for point, parent in PARENTS.items():
        asked = TCMSG.pack(0, ifindex, 0, parent, 0)
        for _, data in exchange(NETLINK_ROUTE, GET_FILTER, DUMP, asked):
            found = attributes(data[TCMSG.size :])
            kind, inner = found.get(FILTER_KIND, b""), attributes(found.get(FILTER_OPTIONS, b""))
            if not inner:  # the head of a chain, which comes before its filters
                continue
            words = [kind, inner.get(BPF_NAME, b"")] if kind.startswith(b"bpf") else [kind]
            text = " ".join(word.rstrip(b"\0").decode(errors="replace") for word in words)
            way = "ingress" if point == INGRESS_POINT else "egress"
            yield f"{way}, priority {TCMSG.unpack_from(data)[4] >> 16}: {text}"


def _filters(ifindex: int, point: int) -> bool:
    """Return whether a device has filters in that direction."""
    return any(True for _ in exchange(NETLINK_ROUTE, GET_FILTER, DUMP, TCMSG.pack(0, ifindex, 0, PARENTS[point], 0)))


def _hook(place: Place) -> Hook:
    return Hook(ct.sizeof(Hook), place.ifindex, INGRESS_POINT if place.ingress else EGRESS_POINT)


def _options(prog_fd: int = 0, flags: int = 0) -> Options:
    return Options(ct.sizeof(Options), prog_fd, flags, 0, HANDLE, PRIORITY)


def _text(place: Place) -> str:
    return f"{place.program} to device {place.ifindex}"
