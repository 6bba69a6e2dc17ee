"""The byte layout of `bpf/types.h`, seen from Python.

Addresses are 16 bytes in network order, IPv4 as ::ffff:a.b.c.d; ports are in network order, all else is native.
`tests/datapath/test_layout.py` compares every size and offset here with the compiled object's BTF.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain

from socklb.model import Backend, Frontend, Serving, is_ipv4, pack_address

# The tables of Services, for both the socket hooks and the packet path.
SERVICE_MAPS = (
    "frontends",
    "frontend_rows",
    "backends",
    "address_filter",
    "service_addrs",
    "node_addrs",
    "own_addrs",
    "source_ranges",
    "networks",
    "this_node",
    "loads",
)
# Rows of each are numbers in another: of the same time, or wrong.
TOGETHER = ("frontends", "frontend_rows", "backends", "loads")
TOGETHER_FOR_PACKETS = (*TOGETHER, "source_ranges")
MAPS = (
    *(*SERVICE_MAPS, "affinity", "bookkeeping", "sockets", "more_peers"),
    *("left_out", "known_cgroups", "connects", "hook_counts"),
)
FRONTEND_KEY = struct.Struct("!16sHBB")
FRONTEND_ROW = struct.Struct("=20s4xQQ")
BACKEND_FIELDS = "16sH6x"
BACKEND_ROW = struct.Struct(f"!{BACKEND_FIELDS}")
LOAD_OFFSET = 20  # of the load number in a backend row, native byte order
SOURCE_RANGE = struct.Struct("=II16s")
NETWORK = struct.Struct("=I16s")
NETWORK_FLAGS = struct.Struct("=B")
POD_NETWORK, NATIVE_NETWORK, SERVICE_NETWORK = 1, 2, 4
ROW_INDEX = struct.Struct("=I")
PEER = struct.Struct("!16s16sHHI")
SOCKET_SLOT = struct.Struct(f"=Q{PEER.size}s")
MORE_PEERS = struct.Struct(f"=I{PEER.size}s{8 * PEER.size}s")
NODE = struct.Struct("=Q")
KERNEL_FACTS = struct.Struct("=11I4xQ")
CGROUP_ID = SINCE = KNOWN_CGROUP = struct.Struct("=Q")
BOOKKEEPING = struct.Struct("=QQ")
LOAD = struct.Struct("=Q")
COUNT = struct.Struct("=Q")  # in `connects` and `hook_counts`
UNCOUNTED = 31  # in `hook_counts`
CLIENT = struct.Struct("=QI4x")
AFFINE = struct.Struct(f"={CLIENT.size}sQ16sH6x")
LOAD_NUMBER = struct.Struct("=I")
PRESENT = b"\x01"
FILTER_WORD = struct.Struct("=Q")
ADDRESS_WORDS = struct.Struct("=4I")
U64 = (1 << 64) - 1
KEY_OFFSET = 16  # of the word in a frontend row with port, protocol and scope; 0: the row is free
SET_OFFSET = 24  # of the word in a frontend row that publishes the set
OPTIONS_OFFSET = 32  # of the word that says how to choose


def pack_frontend(frontend: Frontend) -> bytes:
    """Return `struct frontend_key`."""
    return FRONTEND_KEY.pack(*frontend)


def unpack_frontend(raw: bytes) -> Frontend:
    """Read `struct frontend_key`."""
    return Frontend(*FRONTEND_KEY.unpack(raw))


def pack_backends(backends: tuple[Backend, ...]) -> bytes:
    """Return consecutive rows of `struct backend`, in ascending order, because the hooks search them. Nothing is
    counted.
    """
    return _rows_of(len(backends)).pack(*chain.from_iterable(sorted(backends)))


@lru_cache(maxsize=64)
def _rows_of(count: int) -> struct.Struct:
    """Return a format for all rows of a set at once: there are a million at the start of a large cluster."""
    return struct.Struct("!" + BACKEND_FIELDS * count)


def unpack_backends(rows: bytes) -> tuple[Backend, ...]:
    """Read consecutive rows of `struct backend`."""
    return tuple(Backend(*row) for row in BACKEND_ROW.iter_unpack(rows))


def filter_bit(address: bytes) -> int:
    """Return the bit of an address in the address filter; the same as filter_bit() in bpf/types.h."""
    zero, one, two, three = ADDRESS_WORDS.unpack(address)
    hash_ = three << 32 | two
    hash_ ^= (zero << 32 | one) * 0xFF51AFD7ED558CCD & U64
    hash_ = (hash_ ^ hash_ >> 33) * 0x9E3779B97F4A7C15 & U64
    return hash_ >> 43


def with_loads(rows: bytes, loads: Iterable[int]) -> bytes:
    """Return backend rows with the numbers under which each backend's connections are counted."""
    numbered = bytearray(rows)
    for offset, load in zip(range(LOAD_OFFSET, len(rows), BACKEND_ROW.size), loads, strict=True):
        LOAD_NUMBER.pack_into(numbered, offset, load)
    return bytes(numbered)


def loads_of(rows: bytes) -> list[int]:
    """Return the load numbers in backend rows."""
    return [LOAD_NUMBER.unpack_from(rows, offset)[0] for offset in range(LOAD_OFFSET, len(rows), BACKEND_ROW.size)]


LEAST_LOADED, OWN_NODE_ONLY, MAY_BE_BOUND, LENT, HAS_OUTSIDE, GUARDED = FLAGS = 1, 2, 4, 8, 16, 32  # of a frontend


def pack_options(serving: Serving) -> int:
    """Return the word that says how to choose: flags and, in the low half, the seconds of affinity."""
    flags = LEAST_LOADED * serving.least_loaded | OWN_NODE_ONLY * serving.own_node_only
    flags |= MAY_BE_BOUND * serving.may_be_bound | LENT * serving.lent
    flags |= HAS_OUTSIDE * (serving.outside is not None) | GUARDED * (serving.sources is not None)
    return flags << 32 | serving.affinity


def unpack_options(word: int, backends: tuple[Backend, ...]) -> Serving:
    """Return what a row says about how a frontend is served; of `outside` and `sources`, only whether they are set."""
    flags, affinity = word >> 32, word & 0xFFFFFFFF
    least_loaded, own_node_only, may_be_bound, lent, outside, guarded = (bool(flags & one) for one in FLAGS)
    return Serving(
        *(backends, affinity, least_loaded, own_node_only),
        outside=() if outside else None,
        sources=() if guarded else None,
        may_be_bound=may_be_bound,
        lent=lent,
    )


def pack_source_range(row: int, source: str) -> bytes:
    """Return `struct source_range` of a CIDR from `Serving.sources`."""
    host, _, length = source.partition("/")
    address = pack_address(host)
    return SOURCE_RANGE.pack(8 * ROW_INDEX.size + int(length) + (96 if is_ipv4(address) else 0), row, address)


def row_of_source_range(raw: bytes) -> int:
    """Return the row of a `struct source_range`."""
    return int(SOURCE_RANGE.unpack(raw)[1])


def pack_network(address: bytes, bits: int) -> bytes:
    """Return `struct network`."""
    return NETWORK.pack(bits, address)


def pack_set(base: int, count: int) -> int:
    """Return the word that publishes a set: rows `base` to `base + count - 1`."""
    return base << 32 | count


def unpack_set(word: int) -> tuple[int, int]:
    """Return base and count of a published set."""
    return word >> 32, word & 0xFFFFFFFF
