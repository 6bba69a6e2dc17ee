"""Where programs are attached to devices: which program, which device, which way packets go there."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple, Protocol

L3 = "_l3"  # behind the name of a program for devices without an Ethernet header
PROGRAMS = {"uplink_in": True, "uplink_out": False, "pod_in": True, "pod_out": False, "routed_in": True}
INGRESS = {name + header: ingress for name, ingress in PROGRAMS.items() for header in ("", L3)}
# What changes a source as a packet goes out stands before what needs it.
UPLINK, POD, ROUTED = ("uplink_out", "uplink_in"), ("pod_out", "pod_in"), ("routed_in",)


class Place(NamedTuple):
    """A program of ours by its name, and the device that it is to run at."""

    program: str
    ifindex: int

    @property
    def ingress(self) -> bool:
        """Whether it is for packets that come in."""
        return INGRESS[self.program]

    @property
    def kind(self) -> str:
        """The program, whatever header packets have."""
        return self.program.removesuffix(L3)


def places(
    uplinks: Iterable[int], pods: Iterable[int] = (), routed: Iterable[int] = (), l3: Collection[int] = ()
) -> list[Place]:
    """Return where programs are to be, of uplinks and of devices towards pods, in the order of attachment.

    routed: devices towards pods that have programs for host routing alone.
    l3: those of all of them without an Ethernet header.
    """
    asked = ((uplinks, UPLINK), (pods, POD), (routed, ROUTED))
    found = [(ifindex, program) for devices, programs in asked for ifindex in devices for program in programs]
    return [Place(program + L3 if ifindex in l3 else program, ifindex) for ifindex, program in found]


class Attacher(Protocol):
    """A way of the kernel to run programs at devices, beside those of others. Every method may raise BpfError."""

    name: str

    def there(self) -> set[Place]:
        """Return where something of ours is, also of an earlier agent."""
        ...

    def runs(self, place: Place) -> bool:
        """Return whether a program of ours, of whichever version, runs there."""
        ...

    def wrong(self, place: Place) -> str:
        """Return what is not as it should be there; empty: nothing."""
        ...

    def put_back(self, place: Place) -> None:
        """Have our program run there; one that an earlier agent left is replaced at once, not first taken away."""
        ...

    def take_away(self, place: Place) -> None:
        """Have it run there no more."""
        ...

    def close(self) -> None:
        """Let go; what is attached stays attached."""
        ...
