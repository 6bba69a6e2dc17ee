"""Faults that others do to hooks, programs at devices, pins and tables: the agent puts all of it back."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path
from random import Random

from socklb.datapath.links import HOOKS
from socklb.errors import SocklbError
from socklb.tc import layout
from tests.chaos.faults import fault
from tests.chaos.rig import Rig
from tests.datapath.meddling import detach as detach_hook
from tests.packets import test_damage as packets

MEDDLED = (OSError, SocklbError, AssertionError)  # somebody else did it already, or the agent is about to mend it


def some(chance: Random) -> list[str]:
    return chance.sample(sorted(HOOKS), chance.choice((1, 1, 2, 5, len(HOOKS))))


@fault("socket", holds=False, weight=2)
def hooks_detached(rig: Rig, chance: Random) -> None:
    for name in some(chance):
        with contextlib.suppress(*MEDDLED):
            detach_hook(rig.pins.links / name)


@fault("socket", holds=False)
def hooks_unpinned(rig: Rig, chance: Random) -> None:
    for name in some(chance):
        (rig.pins.links / name).unlink(missing_ok=True)


@fault("socket", holds=False)
def tables_unpinned(rig: Rig, chance: Random) -> None:
    for pin in [pin for folder in (rig.pins.maps, rig.pins.tc_maps) for pin in _pins(folder)]:
        if chance.random() < 0.3:
            pin.unlink(missing_ok=True)


@fault("socket", "packet", holds=False)
def all_pins_removed(rig: Rig, chance: Random) -> None:
    shutil.rmtree(rig.pins.root, ignore_errors=True)


@fault("socket", "packet", holds=False)
def bpf_file_system_unmounted(rig: Rig, chance: Random) -> None:
    subprocess.run(["umount", "--lazy", rig.agent.bpffs], check=False, capture_output=True)


@fault("packet", holds=False, weight=2)
def programs_at_devices_detached(rig: Rig, chance: Random) -> None:
    with contextlib.suppress(*MEDDLED):
        packets.detach(rig, chance.choice(("uplink_in", "uplink_out", "pod_in", "pod_out", "*")))  # type: ignore[arg-type]


@fault("packet", holds=False)
def programs_at_devices_unpinned(rig: Rig, chance: Random) -> None:
    for pin in _pins(rig.pins.tc_links):
        if chance.random() < 0.5:
            pin.unlink(missing_ok=True)


@fault("packet", holds=False)
def tables_of_devices_changed(rig: Rig, chance: Random) -> None:
    with contextlib.suppress(*MEDDLED):
        table, size = chance.choice((("uplinks", layout.UPLINK.size), ("pod_devices", 1)))
        packets.empty(rig, table, size)  # type: ignore[arg-type]


def _pins(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
