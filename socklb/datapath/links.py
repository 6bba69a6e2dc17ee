"""The links that attach the hooks to the node's cgroup: made, held open, pinned, and restored if one is lost.

    with closing(Links(obj, cgroup, pins.links)) as links:
        links.attach()              # every hook or none
        links.lacking()             # {} as long as nobody interferes
        links.put_back("connect4")

A link works as long as a pin or an open descriptor holds it, unless it is detached or its cgroup is removed. So a link
that was only unpinned never stops working while the agent runs.
"""

from __future__ import annotations

import ctypes as ct
import errno
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from socklb.datapath import foreign, libbpf
from socklb.errors import SocklbError

# enum bpf_attach_type, in the order of attachment: programs that free records and restore addresses come before
# those that translate.
HOOKS = {
    "sock_release": 34,
    "recvmsg4": 19,
    "recvmsg6": 20,
    "getpeername4": 29,
    "getpeername6": 30,
    "connect4": 10,
    "connect6": 11,
    "sendmsg4": 14,
    "sendmsg6": 15,
    "bind4": 8,
    "bind6": 9,
}


class LinkInfo(ct.Structure):
    """`struct bpf_link_info` of a cgroup link. A link that was detached has cgroup_id 0."""

    _fields_ = (
        ("type", ct.c_uint32),
        ("id", ct.c_uint32),
        ("prog_id", ct.c_uint32),
        ("pad", ct.c_uint32),
        ("cgroup_id", ct.c_uint64),
        ("attach_type", ct.c_uint32),
        ("reserve", ct.c_uint8 * 256),
    )


def link_info(link: int, name: object) -> LinkInfo:
    """Return the kernel's information on a link."""
    info = LinkInfo()
    libbpf.object_info(link, info, f"link {name}")
    return info


def pinned_info(pin: Path) -> LinkInfo | None:
    """Return the kernel's information on a pinned link; None if nothing is pinned there, or if a folder is there
    instead.
    """
    link = libbpf.find_pinned(pin)
    if link is None:
        return None
    try:
        return link_info(link, pin)
    finally:
        os.close(link)


def cgroup_id(cgroup: Path) -> int | None:
    """Return the id of a cgroup, which is its inode; None if it does not exist."""
    try:
        return cgroup.stat().st_ino
    except OSError:
        return None


@contextmanager
def opened(directory: Path) -> Generator[int]:
    """Open a directory while the block runs."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Links:
    """See the module."""

    def __init__(self, obj: libbpf.Object, cgroup: Path, pins: Path) -> None:
        self._programs = _programs(obj)
        self._cgroup, self._pins = cgroup, pins
        self._open: dict[str, int] = {}

    def attach(self) -> None:
        """Make every hook of the cgroup run our program of its name, or change nothing.

        Raises:
            OccupiedError: a program of another owner excludes ours from one of the hooks.
            BpfError: the kernel refused a hook; those that were attached before it are detached again.
        """
        foreign.check_room(self._cgroup, HOOKS)
        with ExitStack() as undo:
            for name in HOOKS:
                if self.put_back(name):
                    undo.callback(self._take_away, name)
            undo.pop_all()
        self._remove_others()

    def run(self, obj: libbpf.Object) -> None:
        """Make the attached hooks run the programs of another object, and treat those as ours from now on.

        Raises:
            SocklbError, OSError: the first program that could not be swapped. Its hook is lacking from now on.
        """
        self._programs = _programs(obj)
        failures: list[Exception] = []
        for name in HOOKS:
            try:
                self.put_back(name)
            except (SocklbError, OSError) as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def put_back(self, name: str) -> bool:
        """Make one hook run our program and be pinned; return whether it had to be attached.

        An existing link is updated in place, so that no call is left untranslated. The kernel compares program types
        only, so attach type and cgroup are compared here; a link of another cgroup, or of one that was removed, is
        replaced.
        """
        link = self._held(name)
        if link is None:
            self._make(name)
            return True
        if link_info(link, name).prog_id != self._programs[name].id:
            libbpf.update_link(link, self._programs[name].fd, name)
        self._pin(name, link)
        return False

    def lacking(self) -> dict[str, str]:
        """Return for each hook that is not as it should be what is wrong with it."""
        here = cgroup_id(self._cgroup)
        found = {name: self._wrong(name, here) for name in HOOKS}
        return {name: text for name, text in found.items() if text}

    def close(self) -> None:
        """Close the links; those that are pinned stay attached."""
        for link in self._open.values():
            os.close(link)
        self._open.clear()

    def _held(self, name: str) -> int | None:
        """Return a link that is attached where it should be: ours, or the one that an earlier agent pinned."""
        here = cgroup_id(self._cgroup)
        pin = self._pins / name
        if name not in self._open and pinned_info(pin) is not None:
            self._open[name] = libbpf.get_pinned(pin)
        link = self._open.get(name)
        if link is None:
            return None
        info = link_info(link, name)
        if (info.cgroup_id, info.attach_type) == (here, self._programs[name].attach_type):
            return link
        os.close(self._open.pop(name))
        return None

    def _make(self, name: str) -> None:
        with opened(self._cgroup) as cgroup_fd:
            link = self._open[name] = self._programs[name].attach_cgroup(cgroup_fd, name)
        try:
            self._pin(name, link)
        except BaseException:
            self._take_away(name)
            raise

    def _pin(self, name: str, link: int) -> None:
        pin = self._pins / name
        there = pinned_info(pin)
        if there is None or there.id != link_info(link, name).id:
            pin.unlink(missing_ok=True)
            libbpf.pin(link, pin)

    def _take_away(self, name: str) -> None:
        link = self._open.pop(name)
        detach(link, name)
        os.close(link)
        (self._pins / name).unlink(missing_ok=True)

    def _remove_others(self) -> None:
        """Detach and unpin hooks that only an older version had."""
        for pin in self._pins.iterdir():
            if pin.name not in HOOKS:
                detach_pinned(pin)
                pin.unlink()

    def _wrong(self, name: str, here: int | None) -> str:
        link = self._open.get(name)
        info = None if link is None else link_info(link, name)
        if info is None or here is None or info.cgroup_id != here:
            return "not attached"
        if info.prog_id != self._programs[name].id:
            return "running a program that is not ours"
        with opened(self._cgroup) as cgroup_fd:
            if info.prog_id not in libbpf.attached_programs(cgroup_fd, HOOKS[name], effective=True):
                return "attached but not effective"
        pinned = pinned_info(self._pins / name)
        return "" if pinned and pinned.id == info.id else "not pinned"


def _programs(obj: libbpf.Object) -> dict[str, libbpf.Program]:
    return {name: obj.program(name) for name in HOOKS}


def detach(link: int, name: str) -> None:
    """Detach a link at once; a link whose cgroup is removed is detached already."""
    try:
        libbpf.call(f"detach {name}", "bpf_link_detach", link)
    except libbpf.BpfError as error:
        if error.errno != errno.ENOLINK:
            raise


def detach_pinned(pin: Path) -> None:
    """Detach a pinned link at once."""
    link = libbpf.get_pinned(pin)
    try:
        detach(link, pin.name)
    finally:
        os.close(link)
