"""Every live socket that was given a backend: its Service address, its backend, its owner.

    sockets = listing(maps, cgroup)         # [Found]

The kernel's list of sockets says which are alive and where, the record what they were given, /proc who has them open. A
socket that has a record but is not in the list is searched for among all open descriptors: sockets without a port, in
network namespaces without a process, or that moved while the list was read. A socket that is opened or closed during
the listing may or may not be included; any other one is included exactly once for each Service that it was translated
for.

A socket without a port that no process has open, such as one in transit between two processes, is not found.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from socklb.model import Backend
from socklb.sockets.descriptors import Holder, holders, search
from socklb.sockets.diag import IPPROTO_MPTCP, Diagnosis, Live
from socklb.sockets.networks import Network, networks
from socklb.sockets.pods import Pod, Pods
from socklb.sockets.records import Record, Records


class Found(NamedTuple):
    """A live socket with one of its records."""

    live: Live
    record: Record
    pod: Pod
    network: str
    holders: list[Holder]


def listing(maps: Path, cgroup: Path) -> list[Found]:
    """Return an entry for each socket and Service, in the order of the sockets' cookies."""
    with closing(Records(maps)) as records:
        places = networks()
        listed = live_sockets(records, places)
        slots = records.slots()
        open_now = holders()
        found = dict(recorded(listed, slots))
        if records.spilled or slots.keys() - found.keys():
            found.update(_by_descriptor(records, listed, slots, open_now))
        still = {c: at for c, at in found.items() if c not in slots or records.has_slot(c)}
    pods, names = Pods(cgroup), {network.number: network.name for network in places}
    return [
        Found(live, record, _pod(live, pods, open_now), names.get(live.network, ""), open_now.get(live.inode, []))
        for _, (live, known_as) in sorted(still.items())
        for record in known_as
    ]


def live_sockets(records: Records, places: list[Network], protocols: tuple[int, ...] = ()) -> dict[int, Live]:
    """Return the sockets that the kernel lists in these network namespaces, by cookie."""
    spilled = records.spilled
    wanted = protocols or (*((IPPROTO_MPTCP,) if spilled else ()), socket.IPPROTO_TCP, socket.IPPROTO_UDP)
    storage = records.storage.fd if spilled else None
    found: dict[int, Live] = {}
    for place in places:
        with suppress(OSError), closing(Diagnosis(place)) as asking:  # removed, or access is denied
            for protocol in wanted:
                found.update((live.cookie, live) for live in asking.sockets(protocol, storage=storage))
    return found


Recorded = tuple[Live, tuple[Record, ...]]


def recorded(listed: dict[int, Live], slots: dict[int, Record]) -> Iterator[tuple[int, Recorded]]:
    """Yield those that have records, by cookie."""
    for cookie, live in listed.items():
        if known_as := _known_as(live, slots.get(cookie), live.records):
            yield cookie, (live, known_as)


def _known_as(live: Live, slot: Record | None, more: tuple[Record, ...]) -> tuple[Record, ...]:
    """Return the newest record of each Service; a connected socket has one. A socket closed by its process has none."""
    if not live.inode:
        return ()
    by_asked: dict[Backend, Record] = {}
    for record in (*((slot,) if slot else ()), *more):
        by_asked.setdefault(record.asked, record)
    known_as = tuple(by_asked.values())
    return known_as[:1] if live.connected else known_as


def _by_descriptor(
    records: Records, listed: dict[int, Live], slots: dict[int, Record], open_now: dict[int, list[Holder]]
) -> Iterator[tuple[int, Recorded]]:
    """Look at sockets that are not listed, and at UDP sockets, whose stored records the kernel does not list."""
    spilled = records.spilled
    enough = {live.inode for live in listed.values() if not (spilled and live.protocol == socket.IPPROTO_UDP)}
    for live, theirs in search((inode, who[0]) for inode, who in open_now.items() if inode not in enough):
        known, more = listed.get(live.cookie, live), records.of_socket(theirs.fileno()) if spilled else ()
        if known_as := _known_as(known, slots.get(live.cookie), more):
            yield live.cookie, (known, known_as)


def _pod(live: Live, pods: Pods, open_now: dict[int, list[Holder]]) -> Pod:
    pod = pods.by_cgroup(live.cgroup) if live.cgroup else None
    for holder in open_now.get(live.inode, []):
        pod = pod or pods.of_process(holder.pid)
    return pod or Pod()
