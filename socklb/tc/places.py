"""Where programs are attached to devices: which program, which device, which way packets go there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

INGRESS = {"uplink_in": True, "uplink_out": False, "pod_in": True, "pod_out": False, "routed_in": True}
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


def places(uplinks: Iterable[int], pods: Iterable[int] = (), routed: Iterable[int] = ()) -> list[Place]:
    """Give where programs are to be, of uplinks and of devices towards pods, in the order of attachment.

    routed: devices towards pods that have programs for host routing alone.
    """
    asked = ((uplinks, UPLINK), (pods, POD), (routed, ROUTED))
    return [Place(program, ifindex) for devices, programs in asked for ifindex in devices for program in programs]


class Attacher(Protocol):
    """A way of the kernel to run programs at devices, beside those of others. Every method may raise BpfError."""

    name: str

    def there(self) -> set[Place]:
        """Give where something of ours is, also of an earlier agent."""
        ...

    def runs(self, place: Place) -> bool:
        """Say whether a program of ours, of whichever version, runs there."""
        ...

    def wrong(self, place: Place) -> str:
        """Say what is not as it should be there; empty: nothing."""
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
