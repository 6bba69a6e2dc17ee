"""The hooks on the node's cgroup as anybody sees them, by their pins: attach, detach, inspect."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from socklb.datapath import libbpf
from socklb.datapath.links import HOOKS, LinkInfo, Links, cgroup_id, detach_pinned, opened, pinned_info


@dataclass(frozen=True)
class Hook:
    """What is true of one hook.

    `attached`: by a link that is pinned. `effective`: the kernel runs our program for every cgroup at and below the
    node's; `bypassed` names the cgroups for which it does not.
    """

    name: str
    attached: bool
    effective: bool
    program_id: int | None
    bypassed: tuple[str, ...] = ()


def attach(obj: libbpf.Object, cgroup: Path, links: Path) -> None:
    """Have every hook of a cgroup run the program of that name in `obj`, by links pinned in a folder; or none."""
    with closing(Links(obj, cgroup, links)) as held:
        held.attach()


def detach(links: Path) -> None:
    """Detach the hooks whose links are pinned in a folder: what translates first, what gives records back last.

    Unpinning alone would do it a moment later, from a kernel worker.
    """
    others = {pin.name for pin in links.iterdir()} - HOOKS.keys()  # of an older version
    order = (*others, *reversed(HOOKS))
    for name in order:
        if (links / name).exists():
            detach_pinned(links / name)


def inspect(cgroup: Path, links: Path) -> list[Hook]:
    """Say for every hook whether it is attached to the node's cgroup, and whether it is effective there and below."""
    here = cgroup_id(cgroup)
    return [_inspect(name, cgroup, here, links / name) for name in HOOKS]


def _is_here(info: LinkInfo | None, here: int | None) -> bool:
    return info is not None and info.cgroup_id == here


def _inspect(name: str, cgroup: Path, here: int | None, pin: Path) -> Hook:
    info = pinned_info(pin)
    if info is None:
        return Hook(name, attached=False, effective=False, program_id=None)
    attached_here = _is_here(info, here)
    bypassed = tuple(_bypassed(cgroup, HOOKS[name], info.prog_id)) if attached_here else ()
    return Hook(name, attached_here, attached_here and not bypassed, int(info.prog_id), bypassed)


def _bypassed(cgroup: Path, attach_type: int, program_id: int) -> Iterator[str]:
    """Attached is not effective: a program of another owner below may stand in ours' place."""
    for directory, _, _ in os.walk(cgroup):
        try:
            with opened(Path(directory)) as descriptor:
                effective = libbpf.attached_programs(descriptor, attach_type, effective=True)
        except (FileNotFoundError, libbpf.BpfError):
            continue  # removed while we looked
        if program_id not in effective:
            yield directory
