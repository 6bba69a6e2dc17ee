"""Programs that report their decisions, in place of the ordinary ones.

    observing = Observing(objects / "socklb-observed.bpf.o", keeper.maps, constants)
    keeper.run(observing.object)
    raw, lost = observing.take()        # `decisions.unpack(raw)`, and how many found no room since
    keeper.run(plain)
    observing.close()

They have the same tables, and a ring buffer. The programs wake nobody: the reader polls many times a second.
"""

from __future__ import annotations

import ctypes as ct
from collections.abc import Mapping
from pathlib import Path

from socklb.datapath import libbpf

AT_ONCE = 4096  # decisions per poll: 4 ms of CPU
RING, UNTOLD = "decisions", "untold"
ENOUGH = -1  # from a callback: the rest is left for the next poll

Callback = ct.CFUNCTYPE(ct.c_int, ct.c_void_p, ct.c_void_p, ct.c_size_t)


def beside(object_file: Path) -> Path:
    """Return the observing counterpart of `object_file`."""
    return object_file.with_name(object_file.name.replace(".bpf.o", "-observed.bpf.o"))


class Observing:
    """See the module."""

    def __init__(self, path: Path, maps: Mapping[str, int], constants: bytes) -> None:
        """Load the object; its programs are not attached yet.

        Raises:
            BpfError: there is no such object, or the kernel refused it.
        """
        self.object = libbpf.Object.open(path)
        self._taken: list[bytes] = []
        self._known_lost = 0
        self._callback = Callback(self._keep)
        try:
            self.object.share_maps(maps)
            self.object.set_constants(constants)
            self.object.load()
            own = self.object.maps((RING, UNTOLD))
            self._untold = own[UNTOLD]
            self._ring = libbpf.call("open ring buffer", "ring_buffer__new", own[RING], self._callback, None, None)
        except BaseException:
            self.object.close()
            raise

    def take(self) -> tuple[bytes, int]:
        """Return the decisions since the last poll, up to the limit of one poll, and how many were lost meanwhile."""
        self._taken.clear()
        libbpf.library().ring_buffer__consume(self._ring)
        lost = self._lost()
        new, self._known_lost = lost - self._known_lost, lost
        return b"".join(self._taken), new

    def close(self) -> None:
        """Close the object. No hook may run its programs any more."""
        libbpf.library().ring_buffer__free(self._ring)
        self.object.close()

    def _keep(self, _: int, data: int, size: int) -> int:
        self._taken.append(ct.string_at(data, size))
        return ENOUGH if len(self._taken) >= AT_ONCE else 0

    def _lost(self) -> int:
        key, count = ct.c_uint32(0), ct.c_uint64(0)
        libbpf.call("read map untold", "bpf_map_lookup_elem", self._untold, ct.byref(key), ct.byref(count))
        return count.value
