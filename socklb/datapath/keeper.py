"""Keep hooks and tables in place, whatever is done to them from outside.

    keeper = Keeper(obj, cgroup, pins)
    keeper.attach()             # every hook or none
    keeper.damage()             # {} as long as nobody interferes
    keeper.repair()             # what could not be repaired, with the reasons
    keeper.run(other)           # the programs of another object from now on

Descriptors of the maps and links are held open, so nothing is lost with a pin or with the BPF file system: it is
mounted again, and everything is pinned again. A check costs some eighty system calls, less than a millisecond.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from socklb.datapath import foreign, libbpf, mounts
from socklb.datapath.layout import MAPS
from socklb.datapath.links import HOOKS, Links, cgroup_id
from socklb.datapath.maps import is_pinned
from socklb.datapath.pins import Pins
from socklb.errors import SocklbError


class Keeper:
    """See the module."""

    def __init__(self, obj: libbpf.Object, cgroup: Path, pins: Pins) -> None:
        self.maps = obj.maps(MAPS)
        self._cgroup, self._pins = cgroup, pins
        self._links = Links(obj, cgroup, pins.links)

    def attach(self) -> None:
        """Attach every hook, or swap the programs that an earlier agent left.

        Raises:
            OccupiedError: a program of another owner excludes ours; nothing was changed.
            BpfError: the kernel refused a hook; nothing was changed.
        """
        self._links.attach()

    def run(self, obj: libbpf.Object) -> None:
        """Make the hooks run the programs of another object with the same tables, and keep those from now on.

        Raises:
            SocklbError, OSError: one could not be swapped; it counts as damage from now on.
        """
        self._links.run(obj)

    def damage(self) -> dict[str, str]:
        """Return what is wrong, by name of the hook, table, mount or cgroup."""
        if cgroup_id(self._cgroup) is None:
            return {f"cgroup {self._cgroup}": "gone"}
        if not mounts.is_bpffs(self._pins.bpffs, mounts.read_mounts()):
            return {f"BPF file system {self._pins.bpffs}": "not mounted", **self._links.lacking()}
        lost = [name for name, fd in self.maps.items() if not is_pinned(self._pins.maps / name, fd)]
        return {**{f"table {name}": "not pinned" for name in lost}, **self._links.lacking()}

    def repair(self) -> list[str]:
        """Repair all damage; a repair that fails does not stop the others.

        Returns what could not be repaired, with the reasons.
        """
        lacking = self._links.lacking()
        steps: list[Callable[[], object]] = [self._mount, self.pin_maps]
        if "not attached" in lacking.values():
            steps.append(partial(foreign.check_room, self._cgroup, HOOKS))
        steps += [partial(self._links.put_back, name) for name in lacking]
        failures: list[str] = []
        for step in steps:
            try:
                step()
            except (SocklbError, OSError) as error:
                failures.append(str(error))
        return list(dict.fromkeys(failures))

    def close(self) -> None:
        """Close the descriptors; everything pinned continues to serve."""
        self._links.close()

    def _mount(self) -> None:
        if not mounts.is_bpffs(self._pins.bpffs, mounts.read_mounts()):
            mounts.mount_bpffs(self._pins.bpffs)
        self._pins.make()
        self._pins.unlock()  # the lock may be on another file system
        self._pins.lock()

    def pin_maps(self) -> None:
        """Pin each table that is not, or whose pin another one has taken.

        Raises:
            BpfError: the kernel refused, as where the BPF file system is not mounted.
        """
        for name, fd in self.maps.items():
            if not is_pinned(self._pins.maps / name, fd):
                pin = self._pins.maps / name
                pin.unlink(missing_ok=True)
                libbpf.pin(fd, pin)
