"""Attach the packet path's programs to the node's devices: uplinks; devices of pods whose sockets no hook sees; lo, if
processes of the node may be unseen too; and with host routing every device towards pods.

    attached = Attached(programs, pins, patterns, load_l3=load_l3, networks=networks)
    attached.follow()               # at first, and when devices, addresses or routes changed
    attached.serve_pods(ifindex)    # a pod behind this device sent a packet to a Service address
    damage = attached.mend()        # every few seconds: repairs what somebody removed or changed, and returns it
    attached.close()                # everything continues to run
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing

from socklb.api.addresses import Network
from socklb.datapath.features import Feature
from socklb.datapath.libbpf import Program
from socklb.datapath.maps import HashTable
from socklb.datapath.pins import Pins
from socklb.errors import SocklbError
from socklb.model import address_text
from socklb.report import DeviceFacts
from socklb.tc import devices, layout, rtnetlink
from socklb.tc.devices import Uplink
from socklb.tc.links import Links
from socklb.tc.lo import Lo, give_back
from socklb.tc.places import L3, POD, UPLINK, Place, places
from socklb.tc.tables import DeviceTable
from socklb.tc.tcx import LO

NONE = 'no uplink is found: nothing from outside is served; next: name them, as in uplinks = ["eth0"]'
WRAPPED = "{} is not served: before Linux 5.14 a packet from such a tunnel still begins with the outer header"
BY_PORT = "with routes that depend on ports host_routing hands nothing on; next: see them by: ip rule; ip -6 rule"
UNPACKED_TUNNELS = Feature(
    "tunnels that are unpacked at tc",
    "5.14",
    "ipip and sit are not served",
    lambda: rtnetlink.unpacks(os.uname().release),
)
PRESENT = b"\1"

log = logging.getLogger(__name__)


class Attached:
    """See the module."""

    def __init__(
        self,
        programs: Mapping[str, Program],
        pins: Pins,
        patterns: Sequence[str],
        *,
        load_l3: Callable[[], Mapping[str, Program]] = dict,
        networks: Sequence[Network] = (),
        host_routing: bool = False,
        all_pods: bool = False,
        at_lo: bool = False,
    ) -> None:
        """Attach nothing yet; what an earlier agent attached continues to run, and its pods are still served.

        load_l3: returns the programs for devices without an Ethernet header, if there are such devices.
        networks: networks of pods.
        host_routing: whether packets to and from pods are redirected on arrival.
        all_pods: whether no hook sees the sockets of pods, so that every pod needs programs at its device.
        at_lo: whether processes of the node that no hook sees are served at the node's own addresses.
        """
        self._pins, self._patterns, self._all_pods = pins, patterns, all_pods
        self._of_pods, self._networks = networks, networks if host_routing else ()
        self._programs, self._load_l3 = dict(programs), load_l3
        self._lo = Lo(pins.tc) if at_lo else None
        self._l3: set[int] = set()  # devices without an Ethernet header
        self._routed: dict[int, int] = {}  # devices towards pods of this node, and how packets are handed on there
        self._by_port = False  # whether routes depend on ports
        self._found: dict[int, Uplink] = {}
        self._well: set[Place] = set()  # where our program ran after the last check
        self._taken: dict[Place, str] = {}  # what somebody removed from there
        self._changed: set[str] = set()  # tables that somebody else wrote to
        self._failures: list[str] = []
        self._unusable: list[str] = []
        self._why = ""  # why all pods are served at their devices; empty: they are not
        self._lock = threading.RLock()  # the report reads from another thread
        with ExitStack() as opened:
            self._links = opened.enter_context(closing(Links(self._programs, pins.tc_links)))
            self._tables = {
                name: opened.enter_context(closing(DeviceTable(pins.tc_maps, name, size)))
                for name, size in (("uplinks", layout.UPLINK.size), ("pod_devices", len(PRESENT)), ("ways", 1))
            }
            self._bridges: set[int] = set()  # bridges all of whose ports are served
            self._pods = {place.ifindex for place in self._links.there() if place.kind in POD}
            self._opened = opened.pop_all()

    def follow(self) -> None:
        """Find the uplinks, and serve those that exist now.

        Raises:
            OSError: netlink refused.
        """
        there, own = rtnetlink.read(), self._own()
        found = devices.uplinks(there, own, self._patterns, self._of_pods)
        with self._lock:
            before, self._found = self._found, {uplink.ifindex: uplink for uplink in found}
            self._pods &= {one.ifindex for one in there.devices}
            self._serve_all_pods(there, own)
            self._pods -= self._served_at_uplinks(there)
            self._bridges = {one.master for one in there.devices if one.ifindex in self._pods and one.master}
            self._pods |= {one.ifindex for one in there.devices if one.master in self._bridges}
            self._routed = devices.towards_pods(there, self._networks, self._found)
            self._by_port = there.rules_by_port
            self._l3 = devices.without_ethernet(there)
            self._unusable = [*self._told(there, own), *self._without_programs()]
            self._keep()
        if self._found != before:
            log.info("packet path: by %s at %s", self._links.name, ", ".join(map(_text, found)) or "no device")

    def _serve_all_pods(self, there: rtnetlink.Found, own: Collection[bytes]) -> None:
        """Serve all pods if no program would see their requests; pods that have programs keep them, because they may
        have flows.
        """
        why = "pod_sockets = false" if self._all_pods else ""
        if not why and not devices.lead_everywhere(there, own, self._found):
            why = "there is no default route by an uplink, where a pod that asks for a Service would be seen"
        if why:
            self._pods |= devices.of_pods(there, self._found)
        if why and why != self._why:
            log.info("packet path: all pods' packets are served at their devices: %s", why)
        self._why = why

    def serve_pods(self, ifindex: int) -> None:
        """Serve the pods behind a device; behind a bridge at all of its ports, because frames between them never leave
        it.

        Raises:
            OSError: netlink refused.
        """
        there = rtnetlink.read()
        ports = {device.ifindex for device in there.devices if device.master == ifindex}
        new = (ports or {ifindex}) - self._pods - self._served_at_uplinks(there)
        if new:
            names = ", ".join(device.name for device in there.devices if device.ifindex in new)
            log.info("packet path: a socket is out of the hooks' sight: its packets are served at %s", names)
            self._pods |= new
            self.follow()

    def _served_at_uplinks(self, there: rtnetlink.Found) -> set[int]:
        """Return the uplinks, and the ports of those that are bridges: programs at both would translate twice."""
        return {*self._found, *(one.ifindex for one in there.devices if one.master in self._found)}

    def mend(self) -> str:
        """Repair what somebody removed or changed; return what that was since the last call, or an empty text."""
        if self._links.lacking(self._wanted):
            self.follow()  # the program may have been removed with its device
        self._changed |= {name for name, table in self._tables.items() if table.mend()}
        by_wrong = {"changed": [f"table {name}" for name in self._changed]} if self._changed else dict[str, list[str]]()
        for place, text in self._taken.items():
            by_wrong.setdefault(text, []).append(f"{place.program} at {self._name(place.ifindex)}")
        if self._lo and self._lo.keep():
            by_wrong.setdefault("changed", []).append("accept_local of lo")
        self._taken, self._changed = {}, set()
        return "; ".join(f"{text}: {', '.join(sorted(where))}" for text, where in by_wrong.items())

    @property
    def problems(self) -> list[str]:
        """Return what cannot be served, and why."""
        return [*self._failures, *self._unusable]

    @property
    def facts(self) -> list[DeviceFacts]:
        """Return the uplinks and the devices of pods, with the state of our programs there now. Any thread may call
        this.
        """
        with self._lock:
            found, lacking = dict(self._found), self._links.lacking(self._wanted)
            pods = [*_still_there(self._pods | self._routed.keys()), *self._at_lo]
        wrong: dict[int, list[str]] = {}
        for place, text in lacking.items():
            wrong.setdefault(place.ifindex, []).append(f"{place.program} is {text}")
        by = self._links.name
        at_uplinks = [
            DeviceFacts(uplink.name, ifindex, by, _addresses(uplink), ", ".join(wrong.get(ifindex, [])))
            for ifindex, uplink in found.items()
        ]
        return at_uplinks + [
            DeviceFacts(self._name(ifindex), ifindex, by, [], ", ".join(wrong.get(ifindex, [])), of_pods=True)
            for ifindex in pods
        ]

    def close(self) -> None:
        """Close the descriptors; everything continues to run."""
        self._opened.close()

    @property
    def _wanted(self) -> list[Place]:
        pods, routed = _still_there(self._pods), _still_there(self._routed.keys() - self._pods)
        wanted = [*places(self._found, pods, routed, self._l3), *(Place(UPLINK[0], lo) for lo in self._at_lo)]
        return [place for place in wanted if place.program in self._programs]

    @property
    def _at_lo(self) -> list[int]:
        return [LO] if self._lo else []

    def _without_programs(self) -> Iterator[str]:
        """Load the programs for all devices; yield what remains without programs."""
        lacking = [ifindex for ifindex in (*self._found, *self._pods) if ifindex in self._l3]
        if not lacking or UPLINK[0] + L3 in self._programs:
            return
        try:
            self._programs.update(self._load_l3())
        except SocklbError as error:
            yield f"{', '.join(map(self._name, lacking))} is not served, for it has no Ethernet header: {error}"

    def _keep(self) -> None:
        if self._lo:
            self._lo.keep()
        else:
            give_back(self._pins.tc)
        uplinks = {i: layout.UPLINK.pack(uplink.ipv4, uplink.ipv6) for i, uplink in self._found.items()}
        some = [next(filter(any, addresses), layout.NOBODY) for addresses in self._addresses()]
        wanted = {
            "uplinks": {**uplinks, layout.ANY_UPLINK: layout.UPLINK.pack(*some)},
            "pod_devices": dict.fromkeys([*self._pods, *self._bridges, *self._at_lo], PRESENT),
            "ways": {device: bytes([way]) for device, way in self._at_ways()},
        }
        self._changed |= {name for name, elements in wanted.items() if self._tables[name].bring(elements)}
        self._failures = self._links.keep(self._wanted)
        there = set(_still_there({place.ifindex for place in self._well}))
        taken = self._links.found.items()
        self._taken |= {place: text for place, text in taken if place in self._well and place.ifindex in there}
        self._well = {*self._wanted} - self._links.failed

    def _addresses(self) -> tuple[list[bytes], list[bytes]]:
        found = self._found.values()
        return [uplink.ipv4 for uplink in found], [uplink.ipv6 for uplink in found]

    def _at_ways(self) -> Iterator[tuple[int, int]]:
        if self._networks and not self._by_port:
            yield from ((uplink, layout.TO_NEIGHBOUR) for uplink in self._found if uplink not in self._l3)
            yield from self._routed.items()

    def _own(self) -> Collection[bytes]:
        with closing(HashTable(self._pins.maps, "own_addrs", 16, 1)) as table:
            return {address for address, _ in table.items()}

    def _told(self, there: rtnetlink.Found, own: Collection[bytes]) -> list[str]:
        headless = devices.refused(there, own, self._patterns)
        return [
            *(f"no device is named {text}, as `uplinks` says" for text in devices.unmatched(there, self._patterns)),
            *(
                f"{name} is not served, for its packets begin with a header that is neither Ethernet's nor IP's"
                for name in headless
            ),
            *(WRAPPED.format(name) for name in devices.wrapped(there, own, self._patterns)),
            *([] if self._found else [NONE]),
            *([BY_PORT] if self._networks and there.rules_by_port else []),
        ]

    def _name(self, ifindex: int) -> str:
        return self._found[ifindex].name if ifindex in self._found else rtnetlink.name_of(ifindex)


def _still_there(devices: Iterable[int]) -> list[int]:
    """Leave out devices that were removed since the last check: that is not damage."""
    return [ifindex for ifindex in sorted(devices) if rtnetlink.is_there(ifindex)]


def _addresses(uplink: Uplink) -> list[str]:
    return [address_text(address) for address in (uplink.ipv4, uplink.ipv6) if address]


def _text(uplink: Uplink) -> str:
    return f"{uplink.name} ({uplink.ifindex})"
