"""Programs of other owners that exclude ours from a hook.

    check_room(cgroup, HOOKS)       # raises an OccupiedError that names them

A program that was attached without BPF_F_ALLOW_MULTI tolerates no other one. On the same cgroup the kernel refuses ours
(EPERM). On a cgroup above, it refuses ours too, or, with BPF_F_ALLOW_OVERRIDE, runs ours instead
(hierarchy_allows_attach() in kernel/bpf/cgroup.c). Neither is what the owner of that program expects.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from socklb.datapath import libbpf, mounts
from socklb.errors import SocklbError

ALLOW_MULTI = 1 << 1  # BPF_F_ALLOW_MULTI
NO_OWNER = "its owner is not known"
BPF_PROGRAM = "anon_inode:bpf-prog"  # the link target of a program's descriptor


class Occupied(NamedTuple):
    """A hook of a cgroup with a program that allows no other."""

    hook: str
    cgroup: Path
    program: int


class OccupiedError(SocklbError):
    """The hooks cannot be attached, because programs of other owners allow no others."""

    def __init__(self, found: list[Occupied]) -> None:
        first = found[0]
        programs = "; ".join(_told(number, found) for number in sorted({one.program for one in found}))
        super().__init__(
            f"no hook was attached: {programs}",
            hint=f"stop what attached it, or bpftool cgroup detach {first.cgroup} {first.hook} id "
            f"{first.program}; the hooks are attached as soon as it is gone",
        )


def check_room(cgroup: Path, hooks: Mapping[str, int]) -> None:
    """Stop if a program of another owner excludes ours from one of these hooks (name to attach type).

    Raises:
        OccupiedError: one does, at the cgroup or above.
    """
    found = list(occupied(cgroup, hooks))
    if found:
        raise OccupiedError(found)


def occupied(cgroup: Path, hooks: Mapping[str, int]) -> Iterator[Occupied]:
    """Yield the hooks that cannot be shared, of a cgroup and of those above it that this process sees."""
    for directory in (cgroup, *cgroup.parents):
        try:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return
        try:
            for hook, attach_type in hooks.items():
                programs, flags = libbpf.query_programs(descriptor, attach_type)
                if not flags & ALLOW_MULTI:
                    yield from (Occupied(hook, directory, program) for program in programs)
        except libbpf.BpfError as error:
            if error.errno == errno.EBADF:  # above the mount point, which is not a cgroup
                return
            raise
        finally:
            os.close(descriptor)


def _told(program: int, found: list[Occupied]) -> str:
    where = [one for one in found if one.program == program]
    hooks = ", ".join(dict.fromkeys(one.hook for one in where))
    cgroups = ", ".join(dict.fromkeys(str(one.cgroup) for one in where))
    return f"{hooks} of {cgroups} {'has' if len(where) == 1 else 'have'} {describe(program)}, which allows no other"


def describe(program: int) -> str:
    """Return what this process can see of a program of another owner: its name, who loaded it, who holds it."""
    try:
        descriptor = int(libbpf.call(f"open program {program}", "bpf_prog_get_fd_by_id", program))
    except libbpf.BpfError:  # unloaded, or CAP_SYS_ADMIN is missing
        return f"program {program} ({', '.join(_holders(program)) or NO_OWNER})"
    try:
        info = libbpf.program_info(descriptor)
    finally:
        os.close(descriptor)
    name = info.name.decode(errors="replace") or "without a name"
    holders = [*_pins(program), *_holders(program)] or [NO_OWNER]
    return f"program {program} ({name}, loaded by uid {info.created_by_uid}, {', '.join(holders)})"


def _holders(program: int) -> Iterator[str]:
    """Yield the other processes that hold the program open."""
    for process in Path("/proc").glob("[0-9]*"):
        if process.name != str(os.getpid()) and _holds(process, program):
            yield f"held by process {process.name} ({_command(process)})"


def _holds(process: Path, program: int) -> bool:
    try:
        for descriptor in (process / "fd").iterdir():
            if (
                str(descriptor.readlink()) == BPF_PROGRAM
                and f"\nprog_id:\t{program}\n" in (process / "fdinfo" / descriptor.name).read_text()
            ):
                return True
    except OSError:  # it ended, or may not be inspected
        pass
    return False


def _command(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "ended"


def _pins(program: int) -> Iterator[str]:
    """Yield the pins of the program on the BPF file systems that this process sees."""
    for mount in mounts.read_mounts():
        if mount.type == "bpf":
            for pin in mount.point.rglob("*"):
                if _is_pin_of(pin, program):
                    yield f"pinned at {pin}"


def _is_pin_of(pin: Path, program: int) -> bool:
    try:
        descriptor = libbpf.get_pinned(pin)
    except libbpf.BpfError:  # a directory, a name without an object
        return False
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink()) == BPF_PROGRAM and (
            libbpf.program_info(descriptor).id == program
        )
    finally:
        os.close(descriptor)
