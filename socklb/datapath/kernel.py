"""What the hooks need to know about the running kernel, from its own description of its types (BTF).

    kernel = read()         # Kernel(); all zero if the kernel has no description
    obj.set_constants(kernel.packed)

CO-RE is not used, because libbpf 0.5 of Ubuntu 22.04 cannot read the BTF of newer kernels. Decoding all of the BTF
would take Python half a second: instead a field is searched by the offset of its name, and the result must look like
that field.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from socklb.datapath import layout

BTF = Path("/sys/kernel/btf/vmlinux")
LOCKDOWN = Path("/sys/kernel/security/lockdown")
HEADER = struct.Struct("=HBBIIIII")  # magic, version, flags, own length; offset and length of types, of strings
MAGIC = 0xEB9F
MEMBER = struct.Struct("=III")  # name, type, place
BINDPORT_LOCK = 3  # the bit SOCK_BINDPORT_LOCK of sk_userlocks (include/net/sock.h)
MPTCP_SOCK = b"bpf_skc_to_mptcp_sock"  # 5.19, and only where the kernel has MPTCP


class Kernel(NamedTuple):
    """`struct kernel_facts` of bpf/types.h. The last five fields are not about the kernel: see there."""

    kern_sock_byte: int = 0
    kern_sock_mask: int = 0
    mptcp: int = 0
    ipv6only_byte: int = 0
    ipv6only_mask: int = 0
    bound_byte: int = 0
    bound_mask: int = 0
    packets: int = 0
    leave_pods: int = 0
    leave_out: int = 0
    count_connects: int = 0
    asking: int = 0

    @property
    def packed(self) -> bytes:
        """Return it in the hooks' format."""
        return layout.KERNEL_FACTS.pack(*self)


def read(btf: Path = BTF, lockdown: Path = LOCKDOWN) -> Kernel:
    """Return what is known; zeros if there is no BTF, or if programs may not read kernel memory."""
    try:
        locked = lockdown.exists() and "[confidentiality]" in lockdown.read_text()
        return Kernel() if locked else parse(btf.read_bytes())
    except OSError:
        return Kernel()


def parse(btf: bytes) -> Kernel:
    """Return the bits `sk_kern_sock`, SOCK_BINDPORT_LOCK and `skc_ipv6only` of a socket, and whether there is MPTCP."""
    magic, _, _, length, types_at, types_size, strings_at, strings_size = HEADER.unpack_from(btf)
    if magic != MAGIC:
        return Kernel()
    types = btf[length + types_at : length + types_at + types_size]
    strings = btf[length + strings_at : length + strings_at + strings_size]
    own, ipv6only = (_bit(types, strings, name) for name in (b"sk_kern_sock", b"skc_ipv6only"))
    # Four bits; in newer kernels a byte of its own.
    bound = _bit(types, strings, b"sk_userlocks", widths=(0, 4), bit=BINDPORT_LOCK)
    mptcp = bool(own[1]) and b"\0mptcp_sock\0" in strings and b"\0" + MPTCP_SOCK + b"\0" in strings
    return Kernel(*own, int(mptcp), *ipv6only, *bound)


def _bit(types: bytes, strings: bytes, name: bytes, *, widths: Collection[int] = (1,), bit: int = 0) -> tuple[int, int]:
    """Return byte and mask of a bit of a field that only one struct has; zeros if it is not found.

    widths: how many bits the field may have; 0: it is not a bit field.
    """
    at = strings.find(b"\0" + name + b"\0")
    if at < 0:
        return 0, 0
    word, found = struct.pack("=I", at + 1), set[int]()
    place = types.find(word)
    while place >= 0:
        if place % 4 == 0 and place + MEMBER.size <= len(types):
            _, _, where = MEMBER.unpack_from(types, place)
            if where >> 24 in widths:  # bits of the field; the rest is its place in the struct
                found.add((where & 0xFFFFFF) + bit)
        place = types.find(word, place + 1)
    if len(found) != 1:
        return 0, 0
    (place,) = found
    return place // 8, 1 << place % 8
