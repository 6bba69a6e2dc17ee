"""The packet path as its pins and the kernel show it, without the agent.

facts = seen(pins)
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import closing

from socklb.datapath import constants
from socklb.datapath.maps import HashTable
from socklb.datapath.pins import Pins
from socklb.model import address_text
from socklb.report import DeviceFacts, PacketFacts
from socklb.tc import layout, rtnetlink, tcx
from socklb.tc.clsact import Clsact
from socklb.tc.devices import without_ethernet
from socklb.tc.links import devices
from socklb.tc.places import UPLINK, Attacher, Place, places
from socklb.tc.played import program_at
from socklb.tc.rtnetlink import name_of
from socklb.tc.tcx import LO, Tcx


def seen(pins: Pins) -> PacketFacts:
    """Return where programs of ours run, of any version.

    Raises:
        BpfError: the kernel refused.
        OSError: netlink refused.
    """
    by: Attacher = Tcx({}, pins.tc_links) if tcx.FEATURE.there() else Clsact({}, devices)
    with closing(by):
        l3 = without_ethernet(rtnetlink.read())
        found = [_device(by, *item, l3) for item in _known(pins).items()]
        whole = bool(found) and not any(device.trouble for device in found)
        if found and by.runs(Place(UPLINK[0], LO)):
            found.append(DeviceFacts(name_of(LO), LO, by.name, of_pods=True))
    return PacketFacts(True, bool(found), whole, devices=found, host_routing=any(map(_hands_on, found)))


def _known(pins: Pins) -> dict[int, list[str]]:
    """Return the uplinks in the programs' table, and the addresses that clients are masqueraded to there."""
    if not (pins.tc_maps / "uplinks").exists():
        return {}
    with closing(HashTable(pins.tc_maps, "uplinks", layout.IFINDEX.size, layout.UPLINK.size)) as table:
        return {
            layout.IFINDEX.unpack(key)[0]: [address_text(one) for one in layout.UPLINK.unpack(value) if any(one)]
            for key, value in table.items()
            if layout.IFINDEX.unpack(key)[0] != layout.ANY_UPLINK
        }


def _hands_on(device: DeviceFacts) -> bool:
    """Return whether the program there was loaded for host routing."""
    program = program_at(device.ifindex)
    if program is None:
        return False
    try:
        known = constants.read(program)
    finally:
        os.close(program)
    return bool(known and layout.PACKET_FACTS.unpack_from(known)[1])


def _device(by: Attacher, ifindex: int, addresses: list[str], l3: Collection[int]) -> DeviceFacts:
    lost = [place.program for place in places([ifindex], l3=l3) if not by.runs(place)]
    trouble = ", ".join(f"{program} is not attached" for program in lost)
    return DeviceFacts(name_of(ifindex), ifindex, by.name, addresses, trouble)
