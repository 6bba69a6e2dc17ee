"""The hooks on the node's cgroup by their pins, for any process: attach, detach, inspect."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from socklb.datapath import libbpf
from socklb.datapath.links import HOOKS, LinkInfo, Links, cgroup_id, detach_pinned, opened, pinned_info


@dataclass(frozen=True)
class Hook:
    """The state of one hook.

    `attached`: by a pinned link. `effective`: the kernel runs our program for the node's cgroup, and therefore for
    every cgroup below: a program attached by a link allows others beside it, and those of cgroups below run in addition
    to it, never instead (compute_effective_progs() in kernel/bpf/cgroup.c). So the cgroups below, of which a node has
    hundreds, need not be queried.
    """

    name: str
    attached: bool
    effective: bool
    program_id: int | None


def attach(obj: libbpf.Object, cgroup: Path, links: Path) -> None:
    """Attach the program of each hook's name in `obj` to a cgroup, by links pinned in a folder; all or none."""
    with closing(Links(obj, cgroup, links)) as held:
        held.attach()


def detach(links: Path) -> None:
    """Detach the hooks whose links are pinned in a folder: those that translate first, those that free records last.

    Unpinning alone would do it a moment later, from a kernel worker.
    """
    others = {pin.name for pin in links.iterdir()} - HOOKS.keys()  # of an older version
    order = (*others, *reversed(HOOKS))
    for name in order:
        if (links / name).exists():
            detach_pinned(links / name)


def inspect(cgroup: Path, links: Path) -> list[Hook]:
    """Return for every hook whether it is attached to the node's cgroup, and whether it is effective."""
    here = cgroup_id(cgroup)
    return [_inspect(name, cgroup, here, links / name) for name in HOOKS]


def _is_here(info: LinkInfo | None, here: int | None) -> bool:
    return info is not None and info.cgroup_id == here


def _inspect(name: str, cgroup: Path, here: int | None, pin: Path) -> Hook:
    info = pinned_info(pin)
    if info is None:
        return Hook(name, attached=False, effective=False, program_id=None)
    attached_here = _is_here(info, here)
    effective = attached_here and info.prog_id in _effective(cgroup, HOOKS[name])
    return Hook(name, attached_here, effective, int(info.prog_id))


def _effective(cgroup: Path, attach_type: int) -> list[int]:
    try:
        with opened(cgroup) as descriptor:
            return libbpf.attached_programs(descriptor, attach_type, effective=True)
    except (FileNotFoundError, libbpf.BpfError):
        return []  # removed during the inspection
