"""Packets, made and translated the naive way: field by field, every checksum made anew. And a program run on one."""

from __future__ import annotations

import ctypes as ct
import fcntl
import socket
import struct
from typing import NamedTuple

from socklb.datapath import libbpf
from socklb.datapath.libbpf import TestRun

TCP, UDP, SCTP = socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_SCTP
SIOCGIFHWADDR, ETHERNET = 0x8927, 1
MACS = bytes.fromhex("020000000001 020000000002")


class Packet(NamedTuple):
    """One IP packet; addresses are 4 or 16 bytes. `cut`: the part of the datagram that this fragment has, or None."""

    source: bytes
    destination: bytes
    protocol: int
    source_port: int
    destination_port: int
    flags: int = 0  # of TCP, or an SCTP chunk's type
    payload: bytes = b""
    options: bytes = b""  # of IPv4; of IPv6: 8 bytes stand for a header of destination options
    cut: slice | None = None
    without_checksum: bool = False  # UDP over IPv4


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data + b'0') // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def build(packet: Packet) -> bytes:
    """Return the frame."""
    data = _datagram(packet)
    fragment = 0
    if packet.cut:
        start = packet.cut.start
        fragment = start // 8 | (0x2000 if packet.cut.stop < len(data) else 0)
        data = data[packet.cut]
    if len(packet.source) == 16:
        return MACS + b"\x86\xdd" + _ip6(packet, data, fragment)
    return MACS + b"\x08\x00" + _ip4(packet, data, fragment)


def _datagram(packet: Packet) -> bytes:
    ports = struct.pack("!HH", packet.source_port, packet.destination_port)
    if packet.protocol == SCTP:
        body = bytes([packet.flags, 0]) + struct.pack("!H", 4 + len(packet.payload)) + packet.payload
        return ports + bytes(4) + struct.pack("<I", crc32c(ports + bytes(8) + body)) + body
    if packet.protocol == TCP:
        head, rest, at = ports + struct.pack("!IIBBH", 1, 2, 5 << 4, packet.flags, 512), b"\0\0" + packet.payload, 16
    else:
        head, rest, at = ports + struct.pack("!H", 8 + len(packet.payload)), packet.payload, 6
    if packet.without_checksum:
        return head + bytes(2) + rest
    whole = head + bytes(2) + rest
    pseudo = packet.source + packet.destination + struct.pack("!II", len(whole), packet.protocol)
    made = checksum(pseudo + whole)
    return head[:at] + struct.pack("!H", made or (0xFFFF if packet.protocol == UDP else 0)) + rest


def _ip4(packet: Packet, data: bytes, fragment: int) -> bytes:
    length = 20 + len(packet.options)
    head = struct.pack("!BBHHHBB", 0x40 | length // 4, 0, length + len(data), 77, fragment, 64, packet.protocol)
    rest = packet.source + packet.destination + packet.options
    return head + struct.pack("!H", checksum(head + bytes(2) + rest)) + rest + data


def _ip6(packet: Packet, data: bytes, fragment: int) -> bytes:
    """The extension headers: destination options, each of 8 bytes, then a fragment header."""
    headers, kinds = b"", [60] * (len(packet.options) // 8) + ([44] if fragment else []) + [packet.protocol]
    for i, following in enumerate(kinds[1:]):
        if kinds[i] == 44:
            headers += struct.pack("!BBHI", following, 0, (fragment & 0x1FFF) << 3 | fragment >> 13, 77)
        else:
            headers += bytes([following, 0, 1, 4, 0, 0, 0, 0])
    head = struct.pack("!IHBB", 6 << 28, len(headers) + len(data), kinds[0], 64)
    return head + packet.source + packet.destination + headers + data


class SkBuff(ct.Structure):
    """The head of `struct __sk_buff`, as far as ifindex."""

    _fields_ = (
        ("length", ct.c_uint32),
        ("type", ct.c_uint32),
        ("mark", ct.c_uint32),
        ("before", ct.c_uint32 * 7),
        ("ifindex", ct.c_uint32),
        ("rest", ct.c_uint32 * 37),
    )


def run(program: int, frame: bytes, ifindex: int, mark: int = 0) -> tuple[int, bytes]:
    """Run a program on a frame at a device of this namespace; give its verdict and the frame then.

    A frame to the first of MACS is one to the device, and comes back so.
    """
    to, own = MACS[:6], address_of(ifindex) if frame.startswith(MACS[:6]) else b""
    frame = own + frame[6:] if own else frame
    after = ct.create_string_buffer(65536)
    context = SkBuff(ifindex=ifindex, mark=mark)
    test = TestRun(
        size=ct.sizeof(TestRun),
        data_in=frame,
        data_size_in=len(frame),
        data_out=ct.addressof(after),
        data_size_out=len(after),
        ctx_in=ct.addressof(context),
        ctx_size_in=ct.sizeof(context),
        repeat=1,
    )
    libbpf.call("run a program", "bpf_prog_test_run_opts", program, ct.byref(test))
    done = after.raw[: test.data_size_out]
    return test.retval - (1 << 32) * (test.retval >> 31), done[:12].replace(own, to) + done[12:] if own else done


def address_of(ifindex: int) -> bytes:
    """Return the hardware address of a device of this namespace; nothing where frames have none (netdevice(7))."""
    request = struct.pack("16s24x", socket.if_indextoname(ifindex).encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        kind, address = struct.unpack_from("H6s", fcntl.ioctl(any_socket, SIOCGIFHWADDR, request), 16)
    return address if kind == ETHERNET else b""
