"""The network namespaces of this node, which can be entered: the kernel lists the sockets of one only inside it.

    for network in networks(): …
    with network.entered(): …               # this thread alone, and back

They are found by the processes in them and by their names (`ip netns`). One that only an open socket holds is not
found.
"""

from __future__ import annotations

import contextlib
import ctypes as ct
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from socklb.libc import libc

CLONE_NEWNET = 0x40000000
OWN = Path("/proc/thread-self/ns/net")


class Network(NamedTuple):
    """A network namespace: its inode, a file that refers to it, its name if it has one."""

    number: int
    path: Path
    name: str = ""

    @contextmanager
    def entered(self) -> Generator[None]:
        """Enter it with this thread.

        Raises:
            OSError: it was removed, or may not be entered.
        """
        if self.number == OWN.stat().st_ino:
            yield  # no permission is needed
            return
        with contextlib.ExitStack() as opened:
            before = opened.enter_context(OWN.open())
            there = opened.enter_context(self.path.open())
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())


def networks() -> list[Network]:
    """Return all that have a process or a name."""
    found = {network.number: network for network in _of_processes()}
    found.update((network.number, network) for network in _named())
    return list(found.values())


def _of_processes() -> Iterator[Network]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            path = entry / "ns" / "net"
            with contextlib.suppress(OSError):  # it ended, or access is denied
                yield Network(path.stat().st_ino, path)


def _named() -> Iterator[Network]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[3].startswith("net:["):
            path = Path(fields[4])
            yield Network(int(fields[3][5:-1]), path, path.name)


def _enter(descriptor: int) -> None:
    if libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ct.get_errno(), os.strerror(ct.get_errno()), "setns")
