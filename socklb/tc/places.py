"""Where programs are attached: which program, which device, which direction."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple, Protocol

L3 = "_l3"  # suffix of the names of programs for devices without an Ethernet header
PROGRAMS = {"uplink_in": True, "uplink_out": False, "pod_in": True, "pod_out": False, "routed_in": True}
INGRESS = {name + header: ingress for name, ingress in PROGRAMS.items() for header in ("", L3)}
# A program that changes the source of an outgoing packet comes before one that needs the new source.
UPLINK, POD, ROUTED = ("uplink_out", "uplink_in"), ("pod_out", "pod_in"), ("routed_in",)


class Place(NamedTuple):
    """A program of ours by its name, and the device that it is for."""

    program: str
    ifindex: int

    @property
    def ingress(self) -> bool:
        """Return whether it is for packets that arrive."""
        return INGRESS[self.program]

    @property
    def kind(self) -> str:
        """Return the program, whichever header the packets have."""
        return self.program.removesuffix(L3)


def places(
    uplinks: Iterable[int], pods: Iterable[int] = (), routed: Iterable[int] = (), l3: Collection[int] = ()
) -> list[Place]:
    """Return the places of programs at uplinks and at devices towards pods, in the order of attachment.

    routed: devices towards pods that have programs for host routing alone.
    l3: those of all these devices that have no Ethernet header.
    """
    asked = ((uplinks, UPLINK), (pods, POD), (routed, ROUTED))
    found = [(ifindex, program) for devices, programs in asked for ifindex in devices for program in programs]
    return [Place(program + L3 if ifindex in l3 else program, ifindex) for ifindex, program in found]


class Attacher(Protocol):
    """A kernel mechanism to run programs at devices, beside those of others. Every method may raise BpfError."""

    name: str

    def there(self) -> set[Place]:
        """Return the places where a program of ours is, including an earlier agent's."""
        ...

    def runs(self, place: Place) -> bool:
        """Return whether a program of ours, of any version, runs there."""
        ...

    def wrong(self, place: Place) -> str:
        """Return what is wrong there; empty: nothing."""
        ...

    def put_back(self, place: Place) -> None:
        """Make our program run there; one that an earlier agent left is replaced atomically, not removed first."""
        ...

    def take_away(self, place: Place) -> None:
        """Remove the program."""
        ...

    def close(self) -> None:
        """Close the descriptors; what is attached stays attached."""
        ...
