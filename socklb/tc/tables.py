"""The tables of the packet path that the agent writes, kept as it left them.

table = DeviceTable(pins.tc_maps, "uplinks", layout.UPLINK.size)
table.bring({2: value})     # returns whether somebody else wrote there since the last time
table.mend()
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from socklb.datapath.maps import HashTable
from socklb.tc import layout


class DeviceTable:
    """A table keyed by ifindex."""

    def __init__(self, directory: Path, name: str, value_size: int) -> None:
        """Open it and read what an earlier agent left."""
        self._table = HashTable(directory, name, layout.IFINDEX.size, value_size)
        self._left = dict(self._table.items())

    def bring(self, wanted: Mapping[int, bytes]) -> bool:
        """Store exactly these elements; return whether somebody else had changed it."""
        return self._write({layout.IFINDEX.pack(ifindex): value for ifindex, value in wanted.items()})

    def mend(self) -> bool:
        """Restore its elements; return whether somebody else had changed it."""
        return self._write(self._left)

    def close(self) -> None:
        """Close it; the pin keeps it."""
        self._table.close()

    def _write(self, wanted: dict[bytes, bytes]) -> bool:
        there, left = dict(self._table.items()), self._left
        new, gone = [item for item in wanted.items() if item not in there.items()], there.keys() - wanted.keys()
        self._table.put(new)
        self._table.delete(gone)
        self._left = dict(self._table.items()) if new or gone else there
        return there != left
