"""The verifier's cost for each program of socklb, from its own statistics.

python -m bench packets
"""

from __future__ import annotations

import ctypes as ct
import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from socklb.datapath import features, kernel, libbpf
from socklb.datapath.links import HOOKS
from socklb.datapath.node_datapath import OBJECTS
from socklb.tc import layout
from socklb.tc.programs import NAMES, OBJECT_FILES

STATISTICS = 4  # BPF_LOG_STATS: statistics only
LOG_SIZE = 1 << 16
SAID = re.compile(r"verification time (\d+) usec.*processed (\d+) insns", re.DOTALL)


class Taken(NamedTuple):
    """The cost of one program."""

    program: str
    microseconds: int
    instructions: int


def hooks() -> list[Taken]:
    """Verify the hooks, as this kernel gets them."""
    facts = kernel.read()._replace(packets=1).packed
    return _verify(features.object_for(features.missing()), HOOKS, facts)


def packet_path() -> list[Taken]:
    """Verify the packet path's programs."""
    return _verify(OBJECT_FILES[0], (*NAMES, "sweep"), layout.PACKET_FACTS.pack((1 << 10) - 1, 0))


def _verify(name: str, programs: Iterable[str], constants: bytes) -> list[Taken]:
    """Load an object with tables of its own, which stay empty."""
    path = OBJECTS / name
    handle = libbpf.call(f"open {path}", "bpf_object__open_file", os.fsencode(path), None)
    with libbpf.Object(handle, path) as found:
        found.set_constants(constants)
        logs = {program: _log_of(handle, program) for program in programs}
        found.load()
    return [_taken(program, log.value.decode()) for program, log in logs.items()]


def _log_of(handle: int, program: str) -> ct.Array[ct.c_char]:
    """Make the kernel write a program's statistics into a buffer (libbpf 0.8)."""
    log = ct.create_string_buffer(LOG_SIZE)
    one = ct.c_void_p(
        libbpf.call(f"find {program}", "bpf_object__find_program_by_name", ct.c_void_p(handle), program.encode())
    )
    libbpf.call(f"log {program}", "bpf_program__set_log_level", one, libbpf.U32(STATISTICS))
    libbpf.call(f"log {program}", "bpf_program__set_log_buf", one, log, ct.c_size_t(LOG_SIZE))
    return log


def _taken(program: str, said: str) -> Taken:
    found = SAID.search(said)
    if found is None:
        raise LookupError(f"the kernel does not say what {program} took:\n{said}")
    return Taken(program, int(found[1]), int(found[2]))
