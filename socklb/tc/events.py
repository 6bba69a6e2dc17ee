"""Events of the packet path: pods whose sockets no hook sees sent a packet to a Service address.

with Unhooked(programs.maps["unhooked"]) as events:
    select.select([events], [], [])
    for event in events.read(): ...
"""

from __future__ import annotations

import ctypes as ct
from types import TracebackType
from typing import NamedTuple, Self

from socklb.datapath import libbpf
from socklb.tc import layout

Callback = ct.CFUNCTYPE(ct.c_int, ct.c_void_p, ct.c_void_p, ct.c_size_t)


class Event(NamedTuple):
    """A client's address (16 bytes), and the device of a pod that needs programs, or the bridge that the pod is at."""

    client: bytes
    ifindex: int


class Unhooked:
    """The ring buffer that the programs write."""

    def __init__(self, map_fd: int) -> None:
        self._found: list[Event] = []
        self._callback = Callback(self._keep)
        self._ring = libbpf.call("open ring buffer", "ring_buffer__new", map_fd, self._callback, None, None)

    def _keep(self, _: int, data: int, size: int) -> int:
        self._found.append(Event(*layout.UNHOOKED.unpack(ct.string_at(data, size))))
        return 0

    def fileno(self) -> int:
        """Return a descriptor that is readable while there are events."""
        return int(libbpf.library().ring_buffer__epoll_fd(self._ring))

    def read(self) -> list[Event]:
        """Return the events since the last call; a pod appears once for each of its packets that was reported."""
        libbpf.call("read ring buffer", "ring_buffer__consume", self._ring)
        found, self._found = self._found, []
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the buffer."""
        libbpf.library().ring_buffer__free(self._ring)
