"""Tables that lost their pins while no agent ran: programs that are attached still use them, so they are found there.

Without that, a new table would be made for each, beside those of before that are still pinned. Row numbers in one table
then mean rows of another that hold something else: attached programs would answer for a Service with another one's
backends.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from socklb.datapath import libbpf
from socklb.datapath.links import pinned_info
from socklb.datapath.maps import map_info

NAME = 15  # characters of a map's name that the kernel keeps (BPF_OBJ_NAME_LEN)

log = logging.getLogger(__name__)


def pin_again(maps: Path, names: Iterable[str], *links: Path) -> None:
    """Pin those tables that lack their pin and that programs of links in these folders use.

    Nothing is pinned if those programs use other tables than the pinned ones, and no table of which they use several.
    """
    names = list(names)
    lost = [name for name in names if not (maps / name).exists()]
    if not lost:
        return
    try:
        held = _held(pin for folder in links if folder.is_dir() for pin in folder.iterdir())
    except libbpf.BpfError as error:  # without CAP_SYS_ADMIN nobody may open a program or a table by its number
        log.warning("tables have lost their pins, and programs that run cannot be asked for them: %s", error)
        return
    if any(number not in held.get(name[:NAME], {number}) for name, number in _pinned(maps, names).items()):
        return
    found = [name for name in lost if len(held[name[:NAME]]) == 1]
    for name in found:
        (number,) = held[name[:NAME]]
        with _closed_after(_open(number)) as descriptor:
            libbpf.pin(descriptor, maps / name)
    if found:
        log.warning("tables had lost their pins, and were found in programs that run: %s", ", ".join(found))


def _pinned(maps: Path, names: Iterable[str]) -> dict[str, int]:
    """Return the numbers of the tables that are pinned."""
    found: dict[str, int] = {}
    for name in names:
        if descriptor := libbpf.find_pinned(maps / name):
            with _closed_after(descriptor):
                found[name] = int(map_info(descriptor, name).id)
    return found


def _held(links: Iterable[Path]) -> defaultdict[str, set[int]]:
    """Return the numbers of the tables that the programs of these links use, by the names that the kernel keeps."""
    programs = {int(info.prog_id) for pin in links if (info := pinned_info(pin))}
    found = defaultdict[str, set[int]](set)
    for number in {number for program in programs for number in _used_by(program)}:
        with _closed_after(_open(number)) as descriptor:
            found[map_info(descriptor, str(number)).name.decode()].add(number)
    return found


def _used_by(program: int) -> list[int]:
    with _closed_after(int(libbpf.call(f"open program {program}", "bpf_prog_get_fd_by_id", program))) as descriptor:
        return libbpf.maps_of_program(descriptor)


@contextmanager
def _closed_after(descriptor: int) -> Generator[int]:
    """Close a descriptor after the block."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open(number: int) -> int:
    return int(libbpf.call(f"open map {number}", "bpf_map_get_fd_by_id", number))
