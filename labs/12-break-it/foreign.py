"""A program of somebody else at the node's cgroup, attached so that it leaves no room for others; it lets all pass.

python3 foreign.py attach|detach CGROUP
"""

import ctypes
import os
import platform
import struct
import sys

SYSCALL = {"x86_64": 321, "aarch64": 280}[platform.machine()]  # bpf(2)
LOAD, ATTACH, DETACH = 5, 8, 9
CGROUP_SOCK_ADDR, CONNECT4 = 18, 10
LET_PASS = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 1, 0x95, 0, 0, 0)  # r0 = 1; exit
LIBC = ctypes.CDLL(None, use_errno=True)


def bpf(command: int, attributes: bytes) -> int:
    done = LIBC.syscall(SYSCALL, command, ctypes.c_char_p(attributes), len(attributes))
    if done < 0:
        raise SystemExit(f"foreign.py: {os.strerror(ctypes.get_errno())}")
    return done


def load() -> int:
    """Return a program of two instructions, which is called `others`."""
    code, licence = ctypes.create_string_buffer(LET_PASS), ctypes.create_string_buffer(b"GPL")
    where = struct.pack("<IIQQIIQII16sII", CGROUP_SOCK_ADDR, 2, ctypes.addressof(code), ctypes.addressof(licence),
                        0, 0, 0, 0, 0, b"others", 0, CONNECT4)  # fmt: skip
    return bpf(LOAD, where)


verb, cgroup = sys.argv[1:]
group = os.open(cgroup, os.O_RDONLY)
# Without BPF_F_ALLOW_MULTI: the kernel then attaches nothing beside it, and nothing below it.
if verb == "attach":
    bpf(ATTACH, struct.pack("<IIII", group, load(), CONNECT4, 0))
else:
    bpf(DETACH, struct.pack("<IIII", group, 0, CONNECT4, 0))
