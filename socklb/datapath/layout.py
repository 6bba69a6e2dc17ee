"""The byte layout of `bpf/types.h`, seen from Python.

Addresses are 16 bytes in network order, IPv4 as ::ffff:a.b.c.d; ports are in network order, all else is native.
`tests/datapath/test_layout.py` compares every size and offset here with the compiled object's BTF.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

MAPS = (
    "frontends",
    "frontend_rows",
    "backends",
    "address_filter",
    "service_addrs",
    "node_addrs",
    "sockets",
    "more_peers",
)
V4_PREFIX = bytes(10) + b"\xff\xff"
PROTOCOLS = {socket.IPPROTO_TCP: "TCP", socket.IPPROTO_UDP: "UDP"}
ANY4 = V4_PREFIX + bytes(4)
ANY6 = bytes(16)


class Frontend(NamedTuple):
    """What a client asks for: address (16 bytes), port (host order), IP protocol number.

    A NodePort that every node serves alike has the unspecified address of its family, `ANY4` or `ANY6`.
    """

    address: bytes
    port: int
    protocol: int


class Backend(NamedTuple):
    """Where a connection goes: address (16 bytes) and port (host order)."""

    address: bytes
    port: int


class Difference(NamedTuple):
    """What is to change in the tables. A frontend without backends is refused; one that is deleted is not ours."""

    put: Mapping[Frontend, tuple[Backend, ...]] = MappingProxyType({})
    delete: frozenset[Frontend] = frozenset()
    add_addresses: frozenset[bytes] = frozenset()
    remove_addresses: frozenset[bytes] = frozenset()
    add_node_addresses: frozenset[bytes] = frozenset()
    remove_node_addresses: frozenset[bytes] = frozenset()


def pack_address(text: str) -> bytes:
    """Give the 16 bytes of an IPv4 or IPv6 address in text.

    Raises:
        ValueError: `text` is neither.
    """
    for family, prefix in ((socket.AF_INET, V4_PREFIX), (socket.AF_INET6, b"")):
        try:
            return prefix + socket.inet_pton(family, text)
        except OSError:
            continue
    raise ValueError(f"{text!r} is not an IPv4 or IPv6 address")


def address_text(address: bytes) -> str:
    """Give an address of 16 bytes in text, IPv4-mapped ones as IPv4."""
    if address.startswith(V4_PREFIX):
        return socket.inet_ntop(socket.AF_INET, address[12:])
    return socket.inet_ntop(socket.AF_INET6, address)


def frontend_text(frontend: Frontend) -> str:
    """Give a frontend as people write it: 10.96.0.10:80/TCP, [fd00::a]:80/UDP."""
    name = PROTOCOLS.get(frontend.protocol, str(frontend.protocol))
    return f"{endpoint_text(Backend(frontend.address, frontend.port))}/{name}"


def endpoint_text(backend: Backend) -> str:
    """Give address and port as people write them."""
    host = address_text(backend.address)
    return f"[{host}]:{backend.port}" if ":" in host else f"{host}:{backend.port}"


FRONTEND_KEY = struct.Struct("!16sHBx")
FRONTEND_ROW = struct.Struct("=20s4xQ")
BACKEND_ROW = struct.Struct("!16sH6x")
ROW_INDEX = struct.Struct("=I")
PEER = struct.Struct("!16s16sHH")
SOCKET_SLOT = struct.Struct(f"=Q{PEER.size}s4x")
MORE_PEERS = struct.Struct(f"=I{PEER.size}s{8 * PEER.size}s")
PRESENT = b"\x01"
FILTER_WORD = struct.Struct("=Q")
U64 = (1 << 64) - 1
SET_OFFSET = 24  # of the word in a frontend row that publishes the set


def pack_frontend(frontend: Frontend) -> bytes:
    """Give `struct frontend_key`."""
    return FRONTEND_KEY.pack(*frontend)


def unpack_frontend(raw: bytes) -> Frontend:
    """Read `struct frontend_key`."""
    return Frontend(*FRONTEND_KEY.unpack(raw))


def pack_backends(backends: tuple[Backend, ...]) -> bytes:
    """Give consecutive rows of `struct backend`."""
    return b"".join(BACKEND_ROW.pack(*backend) for backend in backends)


def unpack_backends(rows: bytes) -> tuple[Backend, ...]:
    """Read consecutive rows of `struct backend`."""
    return tuple(Backend(*row) for row in BACKEND_ROW.iter_unpack(rows))


def filter_bit(address: bytes) -> int:
    """Give the bit of the address filter that an address has; the same as filter_bit() in bpf/types.h."""
    zero, one, two, three = struct.unpack("=4I", address)
    hash_ = three << 32 | two
    hash_ ^= (zero << 32 | one) * 0xFF51AFD7ED558CCD & U64
    hash_ = (hash_ ^ hash_ >> 33) * 0x9E3779B97F4A7C15 & U64
    return hash_ >> 43


def pack_set(base: int, count: int) -> int:
    """Give the word that publishes a set: rows `base` to `base + count - 1`."""
    return base << 32 | count


def unpack_set(word: int) -> tuple[int, int]:
    """Give base and count of a published set."""
    return word >> 32, word & 0xFFFFFFFF
