"""The constants that a program was given before it was loaded, which are in a map of its own.

constants.read(program)     # the bytes of `.rodata`; None: it has none
"""

from __future__ import annotations

import ctypes as ct
import os

from socklb.datapath import layout, libbpf
from socklb.datapath.libbpf import U32
from socklb.datapath.maps import map_info


def read(program: int) -> bytes | None:
    """Return the constants of a program, given its descriptor.

    Raises:
        BpfError: the kernel refused.
    """
    for number in libbpf.maps_of_program(program):
        descriptor = int(libbpf.call(f"open map {number}", "bpf_map_get_fd_by_id", U32(number)))
        try:
            info = map_info(descriptor, str(number))
            if info.name.endswith(b".rodata"):
                return _first(descriptor, info.value_size)
        finally:
            os.close(descriptor)
    return None


def _first(descriptor: int, size: int) -> bytes:
    value = ct.create_string_buffer(size)
    libbpf.call("read constants", "bpf_map_lookup_elem", descriptor, layout.ROW_INDEX.pack(0), value)
    return bytes(value.raw)
