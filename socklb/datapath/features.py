"""Features that a kernel may lack, each with the version that added it. They alone decide which object is loaded.

    lacking = missing()
    name = object_for(lacking)

Each feature is probed, because distributions backport features. Only EINVAL from the verifier means that the feature is
missing: any other error, such as a missing capability or too little memory, is raised as it is.
"""

from __future__ import annotations

import ctypes as ct
import errno
import os
import platform
import resource
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple

from socklb.datapath.libbpf import BpfError
from socklb.libc import libc

SO_NETNS_COOKIE = 71  # socket(7)
SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
BPF_PROG_LOAD = 5
CGROUP_SOCK_ADDR, CGROUP_INET4_CONNECT = 18, 10  # program type and attach type of connect4


class Feature(NamedTuple):
    """A kernel feature: its name, the version of Linux that added it, and what does not work without it."""

    name: str
    since: str
    without: str
    there: Callable[[], bool]

    def __str__(self) -> str:
        """Format as `set errno from cgroup hooks (Linux 6.1): without it …`."""
        return f"{self.name} (Linux {self.since}): without it {self.without}"


def instruction(code: int, registers: int = 0, offset: int = 0, number: int = 0) -> bytes:
    """Encode one instruction (`struct bpf_insn`)."""
    return struct.pack("<BBhi", code, registers, offset, number)


EXIT = instruction(0xB7, 0, 0, 1) + instruction(0x95)  # return 1
# bpf_set_retval(-ECONNREFUSED), which these hooks may call since Linux 6.1
CALLS_SET_RETVAL = instruction(0xB7, 1, 0, -errno.ECONNREFUSED) + instruction(0x85, 0, 0, 187) + EXIT
# *(u64 *)(r10 - 8) = 0; r0 = 0; r1 = 1; r0 = cmpxchg(r10 - 8, r0, r1); Linux 5.12, commit 5ffa25502b5a
COMPARES_AND_SWAPS = (
    instruction(0x7A, 10, -8)
    + instruction(0xB7)
    + instruction(0xB7, 1, 0, 1)
    + instruction(0xDB, 1 << 4 | 10, -8, 0xF1)
    + EXIT
)


def loads(name: str, instructions: bytes) -> bool:
    """Return whether the verifier accepts a tiny program that uses a feature.

    Raises:
        BpfError: the program did not reach the verifier.
    """
    _lift_memory_limit()
    licence = ct.create_string_buffer(b"GPL")
    code = ct.create_string_buffer(instructions, len(instructions))
    attributes = struct.pack(
        "<IIQQIIQII16sII",
        CGROUP_SOCK_ADDR,
        len(instructions) // 8,
        ct.addressof(code),
        ct.addressof(licence),
        *(0, 0, 0, 0, 0),  # no log; kernel version and flags
        b"socklb_probe",
        0,
        CGROUP_INET4_CONNECT,
    )
    number = SYS_BPF.get(platform.machine(), SYS_BPF["aarch64"])
    program = libc.syscall(ct.c_long(number), ct.c_long(BPF_PROG_LOAD), attributes, ct.c_long(len(attributes)))
    if program >= 0:
        os.close(program)
        return True
    if ct.get_errno() == errno.EINVAL:
        return False
    raise BpfError(f"ask the kernel for '{name}'", ct.get_errno())


def _lift_memory_limit() -> None:
    """Before Linux 5.11 programs and tables count against RLIMIT_MEMLOCK; later kernels charge the cgroup's memory."""
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError):  # without CAP_SYS_RESOURCE: libbpf says so if it matters
        return


def netns_cookie() -> int:
    """Return the cookie of this process' network namespace, the node's; 0 if the kernel does not provide it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            return int.from_bytes(any_socket.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), sys.byteorder)
        except OSError as error:
            if error.errno != errno.ENOPROTOOPT:
                raise
            return 0


SET_ERRNO = Feature(
    "set errno from cgroup hooks",
    "6.1",
    "refusals are left to the packet path, and NodePorts are not kept free of listeners",
    lambda: loads("set errno from cgroup hooks", CALLS_SET_RETVAL),
)
COMPARE_AND_SWAP = Feature(
    "atomic compare-and-swap in programs",
    "5.12",
    "records are kept with the sockets, a connect costs a microsecond more, and least-loaded choice is random choice",
    lambda: loads("atomic compare-and-swap in programs", COMPARES_AND_SWAPS),
)
NETNS_COOKIE = Feature(
    "netns cookie socket option",
    "5.14",
    "NodePorts on localhost are served to sockets only if a hook sees the agent: run it below the node's cgroup",
    lambda: netns_cookie() != 0,
)
FEATURES = (SET_ERRNO, COMPARE_AND_SWAP, NETNS_COOKIE)
# Best first: each object with the features that it needs.
OBJECTS: dict[str, tuple[Feature, ...]] = {
    "socklb.bpf.o": (SET_ERRNO, COMPARE_AND_SWAP),
    "socklb-5.12.bpf.o": (COMPARE_AND_SWAP,),
    "socklb-5.10.bpf.o": (),
}


def missing() -> tuple[Feature, ...]:
    """Return the features that this kernel lacks.

    Raises:
        BpfError: the kernel does not say, for example without a capability.
    """
    if not loads("a program that does nothing", EXIT):  # so that EINVAL below is about the feature
        raise BpfError("ask the kernel for a program that does nothing", errno.EINVAL)
    return tuple(feature for feature in FEATURES if not feature.there())


def object_for(lacking: Iterable[Feature]) -> str:
    """Return the name of the best object for a kernel that lacks these."""
    return next(name for name, needs in OBJECTS.items() if not set(needs) & set(lacking))
