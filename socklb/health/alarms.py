"""What an operator must act on. Pure.

    for alarm in alarms(fills, frontends_waiting=0, addresses_waiting=0, lost=0, leftovers=[]): …

`socklb status` shows an alarm among its problems, and the metric `socklb_alarm` is 1 under its name. The table of
sockets may be full: what finds no room there has another place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from socklb.api.source import Problem
from socklb.datapath.view import Fill

NAMES = (
    "hooks_refused",
    "hooks_damaged",
    "table_nearly_full",
    "no_room_for_frontends",
    "no_room_for_addresses",
    "records_lost",
    "kube_proxy_left_over",
)
NEARLY_FULL = 0.9
LARGER = "next: set larger tables in the configuration, or serve fewer Services"


class Alarm(NamedTuple):
    """One of NAMES, and what is to be said and done."""

    name: str
    message: str

    @property
    def problem(self) -> Problem:
        """The same as `socklb status` shows it."""
        return Problem("", 0, "", self.message)


def alarms(
    fills: Iterable[Fill], *, frontends_waiting: int, addresses_waiting: int, lost: int, leftovers: Sequence[str]
) -> list[Alarm]:
    """Give the alarms that stand."""
    found = [
        Alarm("table_nearly_full", f"the table {fill.name} holds {fill.used} of {fill.capacity} entries; {LARGER}")
        for fill in fills
        if fill.used >= NEARLY_FULL * fill.capacity and fill.name != "sockets"
    ]
    if frontends_waiting:
        text = f"no room in the tables for {_count(frontends_waiting, 'frontend')}: what they had is kept; {LARGER}"
        found.append(Alarm("no_room_for_frontends", text))
    if addresses_waiting:
        text = f"no room in the tables for {_count(addresses_waiting, 'address')}: they are not known yet; {LARGER}"
        found.append(Alarm("no_room_for_addresses", text))
    if lost:
        text = (
            f"{_count(lost, 'record')} of sockets found no memory since the tables were made: getpeername() shows a "
            "backend there; next: look for memory pressure in the node's cgroups"
        )
        found.append(Alarm("records_lost", text))
    if leftovers:
        text = f"kube-proxy left rules on this node: {', '.join(leftovers)}; next: stop it, then kube-proxy --cleanup"
        found.append(Alarm("kube_proxy_left_over", text))
    return found


def _count(number: int, what: str) -> str:
    plural = what + ("es" if what.endswith("s") else "s")
    return f"{number} {what if number == 1 else plural}"
