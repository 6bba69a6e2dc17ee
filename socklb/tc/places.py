"""Where programs are attached to devices: which program, which device, which way packets go there."""

from __future__ import annotations

from typing import NamedTuple, Protocol

INGRESS = {"uplink_in": True, "uplink_out": False}


class Place(NamedTuple):
    """A program of ours by its name, and the device that it is to run at."""

    program: str
    ifindex: int

    @property
    def ingress(self) -> bool:
        """Whether it is for packets that come in."""
        return INGRESS[self.program]


class Attacher(Protocol):
    """A way of the kernel to run programs at devices, beside those of others. Every method may raise BpfError."""

    name: str

    def there(self) -> set[Place]:
        """Give where something of ours is, also of an earlier agent."""
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
