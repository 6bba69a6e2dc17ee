"""Wait for the programs that may still read withdrawn rows: membarrier(2), or another RCU grace period.

Programs run inside an RCU read-side section; MEMBARRIER_CMD_GLOBAL is a synchronize_rcu() (kernel/sched/membarrier.c).
It is refused where CPUs run without a tick (nohz_full=), and returns at once where there is only one CPU, on which a
program may have been preempted half way. There a map-in-map does the waiting: an update of one returns when the
programs that may use the previous map have ended (maybe_wait_bpf_programs() in kernel/bpf/syscall.c, since 5.0, commit
1ae80cf31938).
"""

from __future__ import annotations

import ctypes as ct
import errno
import os
import struct
import time
from functools import cache

from socklb.libc import libc

NR_MEMBARRIER = {"x86_64": 324, "aarch64": 283}
QUERY = 0
GLOBAL = 1 << 0
GLOBAL_EXPEDITED = 1 << 1
NR_BPF = {"x86_64": 321, "aarch64": 280}
MAP_CREATE, MAP_UPDATE_ELEM = 0, 2  # enum bpf_cmd
ARRAY, ARRAY_OF_MAPS = 2, 12  # enum bpf_map_type
REST = 1.0  # seconds; much longer than a program runs


def _membarrier(command: int) -> int:
    """Return the kernel's answer; -1: it refused."""
    number = NR_MEMBARRIER.get(os.uname().machine)
    if number is None:
        return -1
    return int(libc.syscall(ct.c_long(number), ct.c_int(command), ct.c_uint(0), ct.c_int(0)))


@cache
def _offered() -> int:
    """Return the commands that this kernel has, as a bit mask."""
    return max(0, _membarrier(QUERY))


def order_stores() -> None:
    """Make every store so far visible before any later one, also on machines that reorder stores (arm64)."""
    if not _offered() & GLOBAL_EXPEDITED or _membarrier(GLOBAL_EXPEDITED) < 0:
        os.sched_yield()  # a system call and a task switch: the scheduler has full barriers


def wait_for_readers() -> None:
    """Return when every program that was running at the call has ended: 10 to 20 ms."""
    if _offered() & GLOBAL and (os.cpu_count() or 1) > 1 and _membarrier(GLOBAL) == 0:
        return
    try:
        _update_a_map_of_maps()
    except OSError:
        time.sleep(REST)


def _update_a_map_of_maps() -> None:
    """Put the inner map into the outer one.

    Raises:
        OSError: there is no such map, or bpf(2) is not known on this machine.
    """
    inner, outer = _maps()
    key, value = ct.create_string_buffer(4), ct.create_string_buffer(struct.pack("=I", inner), 4)
    _bpf(MAP_UPDATE_ELEM, struct.pack("=I4xQQQ", outer, ct.addressof(key), ct.addressof(value), 0))


@cache
def _maps() -> tuple[int, int]:
    """Create an array of one number, and an array of maps for it; they live as long as this process."""
    inner = _bpf(MAP_CREATE, struct.pack("=6I", ARRAY, 4, 4, 1, 0, 0))
    return inner, _bpf(MAP_CREATE, struct.pack("=6I", ARRAY_OF_MAPS, 4, 4, 1, 0, inner))


def _bpf(command: int, attributes: bytes) -> int:
    number = NR_BPF.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"bpf() on {os.uname().machine}")
    result = int(libc.syscall(ct.c_long(number), ct.c_int(command), attributes, ct.c_uint(len(attributes))))
    if result < 0:
        raise OSError(ct.get_errno(), f"bpf({command}): {os.strerror(ct.get_errno())}")
    return result
