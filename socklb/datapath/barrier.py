"""Waiting for the programs that may still read what was withdrawn (membarrier(2))."""

from __future__ import annotations

import ctypes as ct
import os

from socklb.errors import SocklbError

NR_MEMBARRIER = {"x86_64": 324, "aarch64": 283}
GLOBAL = 1 << 0
GLOBAL_EXPEDITED = 1 << 1


def _membarrier(command: int) -> None:
    number = NR_MEMBARRIER.get(os.uname().machine)
    if number is None:
        raise SocklbError("no membarrier known", value=os.uname().machine, valid=", ".join(NR_MEMBARRIER))
    libc = ct.CDLL(None, use_errno=True)
    if libc.syscall(ct.c_long(number), ct.c_int(command), ct.c_uint(0), ct.c_int(0)) < 0:
        raise OSError(ct.get_errno(), f"membarrier({command}): {os.strerror(ct.get_errno())}")


def order_stores() -> None:
    """Make every store so far visible before any later one, on machines that reorder stores too (arm64)."""
    _membarrier(GLOBAL_EXPEDITED)


def wait_for_readers() -> None:
    """Return when every program that was running at the call has ended: 10 to 20 ms.

    MEMBARRIER_CMD_GLOBAL is a synchronize_rcu() (kernel/sched/membarrier.c), and programs run inside an RCU read-side
    section.
    """
    _membarrier(GLOBAL)
