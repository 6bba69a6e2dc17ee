"""The hooks on the node's cgroup: attach them, swap their programs, and see whether they really take effect."""

from __future__ import annotations

import ctypes as ct
import errno
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from socklb.datapath import libbpf

# enum bpf_attach_type. In the order of attachment: what gives records back and restores addresses stands before
# anything is translated.
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
    "post_bind4": 12,
    "post_bind6": 13,
}


class LinkInfo(ct.Structure):
    """`struct bpf_link_info` of a cgroup link."""

    _fields_ = (
        ("type", ct.c_uint32),
        ("id", ct.c_uint32),
        ("prog_id", ct.c_uint32),
        ("pad", ct.c_uint32),
        ("cgroup_id", ct.c_uint64),
        ("attach_type", ct.c_uint32),
        ("reserve", ct.c_uint8 * 256),
    )


@dataclass(frozen=True)
class Hook:
    """What is true of one hook.

    `effective`: the kernel runs our program for every cgroup at and below the node's; `bypassed` names the cgroups for
    which it does not.
    """

    name: str
    attached: bool
    effective: bool
    program_id: int | None
    bypassed: tuple[str, ...] = ()


def attach(obj: libbpf.Object, cgroup: Path, links: Path) -> None:
    """Have every hook of a cgroup run the program of that name in `obj`.

    A pinned link is updated in place, so that no call goes by untranslated. The kernel compares program types
    only, so attach type and cgroup are compared here; a link that belongs to another cgroup, or to one that was removed
    (ENOLINK), is replaced.
    """
    with _opened(cgroup) as cgroup_fd:
        cgroup_id = os.fstat(cgroup_fd).st_ino
        for name in HOOKS:
            program, pin = obj.program(name), links / name
            if not _update(program, pin, cgroup_id):
                pin.unlink(missing_ok=True)
                program.attach_cgroup(cgroup_fd, pin)


def _update(program: libbpf.Program, pin: Path, cgroup_id: int) -> bool:
    if not pin.exists():
        return False
    link = libbpf.get_pinned(pin)
    try:
        info = link_info(link, pin)
        if (info.cgroup_id, info.attach_type) != (cgroup_id, program.attach_type):
            return False
        libbpf.update_link(link, program.fd, pin.name)
    except libbpf.BpfError as error:
        if error.errno != errno.ENOLINK:
            raise
        return False
    finally:
        os.close(link)
    return True


def detach(links: Path) -> None:
    """Detach the hooks whose links are pinned in a folder: what translates first, what gives records back last.

    Unpinning alone would do it a moment later, from a kernel worker.
    """
    for name in reversed(HOOKS):
        pin = links / name
        if pin.exists():
            link = libbpf.get_pinned(pin)
            try:
                libbpf.call(f"detach {name}", "bpf_link_detach", link)
            except libbpf.BpfError as error:
                if error.errno != errno.ENOLINK:  # its cgroup is gone already
                    raise
            finally:
                os.close(link)


def link_info(link: int, pin: Path) -> LinkInfo:
    """Read what the kernel says of a link."""
    info = LinkInfo()
    libbpf.object_info(link, info, f"link {pin}")
    return info


def inspect(cgroup: Path, links: Path) -> list[Hook]:
    """Say for every hook whether it is attached to the node's cgroup, and whether it is effective there and below."""
    with _opened(cgroup) as cgroup_fd:
        cgroup_id = os.fstat(cgroup_fd).st_ino
    return [_inspect(name, cgroup, cgroup_id, links / name) for name in HOOKS]


def attached(cgroup: Path, links: Path) -> dict[str, bool]:
    """Say for every hook whether it is attached to the node's cgroup, without the walk that shows it effective."""
    with _opened(cgroup) as cgroup_fd:
        cgroup_id = os.fstat(cgroup_fd).st_ino
    return {name: (info := _pinned_info(links / name)) is not None and info.cgroup_id == cgroup_id for name in HOOKS}


def _pinned_info(pin: Path) -> LinkInfo | None:
    if not pin.exists():
        return None
    link = libbpf.get_pinned(pin)
    try:
        return link_info(link, pin)
    finally:
        os.close(link)


def _inspect(name: str, cgroup: Path, cgroup_id: int, pin: Path) -> Hook:
    info = _pinned_info(pin)
    if info is None:
        return Hook(name, attached=False, effective=False, program_id=None)
    here = info.cgroup_id == cgroup_id
    bypassed = tuple(_bypassed(cgroup, HOOKS[name], info.prog_id)) if here else ()
    return Hook(name, here, here and not bypassed, int(info.prog_id), bypassed)


def _bypassed(cgroup: Path, attach_type: int, program_id: int) -> Iterator[str]:
    """Attached is not effective: a program of another owner below may stand in ours' place."""
    for directory, _, _ in os.walk(cgroup):
        try:
            with _opened(Path(directory)) as descriptor:
                effective = libbpf.attached_programs(descriptor, attach_type, effective=True)
        except (FileNotFoundError, libbpf.BpfError):
            continue  # removed while we looked
        if program_id not in effective:
            yield directory


@contextmanager
def _opened(directory: Path) -> Generator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
