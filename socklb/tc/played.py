"""Simulate a client outside the cluster: run the program at an uplink on such a client's first packet.

    program = program_at(ifindex)           # None: ours does not run there
    reached = play(program, ifindex, source, asked)

The very program that is attached there is run on a made-up packet (BPF_PROG_TEST_RUN): nothing is received and nothing
sent. The only trace is a flow of a client that sends nothing more.
"""

from __future__ import annotations

import ctypes as ct
import os
import socket
import struct
from collections.abc import Collection

from socklb.datapath import libbpf
from socklb.model import Backend, Frontend, endpoint_text, is_ipv4, pack_address
from socklb.tc import clsact, rtnetlink, tcx
from socklb.tc.devices import without_ethernet
from socklb.tc.places import Place

PROGRAM = "uplink_in"
FOUR, SIX, PORT = pack_address("192.0.2.1"), pack_address("2001:db8::1"), 40000  # reserved for documentation
DROP = 2  # TC_ACT_SHOT
SYN, WINDOW, HOPS = 2, 64240, 64
ETHERNET = 14
ROOM = 512


class SkBuff(ct.Structure):
    """`struct __sk_buff` up to the device; all of it must be passed."""

    _fields_ = (("before", ct.c_uint32 * 10), ("ifindex", ct.c_uint32), ("rest", ct.c_uint32 * 37))


def program_at(ifindex: int) -> int | None:
    """Return a descriptor of our program that runs at an uplink; the caller closes it."""
    if tcx.FEATURE.there():
        numbers = libbpf.query_programs(ifindex, tcx.TCX_INGRESS)[0]
        ours = next((number for number in numbers if libbpf.program_name(number) == PROGRAM), None)
    else:
        ours = clsact.program_at(Place(PROGRAM, ifindex))
    return None if ours is None else int(libbpf.call(f"open program {ours}", "bpf_prog_get_fd_by_id", ours))


def can_be(ifindex: int) -> bool:
    """Return whether a packet can be simulated at a device: the kernel adds an Ethernet header, which a tunnel does not
    have.
    """
    return ifindex not in without_ethernet(rtnetlink.read())


def play(program: int, ifindex: int, source: Backend, asked: Frontend) -> Backend | None:
    """Return where the first packet of a TCP connection is sent; None: it is dropped.

    Raises:
        BpfError: the kernel did not run the program.
    """
    kind = 0x0800 if is_ipv4(asked.address) else 0x86DD
    frame, after = bytes(12) + struct.pack("!H", kind) + syn(source, asked), ct.create_string_buffer(ROOM)
    context = SkBuff(ifindex=ifindex)
    run = libbpf.TestRun(
        size=ct.sizeof(libbpf.TestRun),
        data_in=frame,
        data_size_in=len(frame),
        data_out=ct.addressof(after),
        data_size_out=ROOM,
        ctx_in=ct.addressof(context),
        ctx_size_in=ct.sizeof(context),
        repeat=1,
    )
    libbpf.call(f"run program {PROGRAM}", "bpf_prog_test_run_opts", program, ct.byref(run))
    return None if run.retval == DROP else _destination(after.raw)


def problem(ifindex: int, asked: Frontend, backends: Collection[Backend]) -> str:
    """Simulate a client with a documentation address; return what is wrong, or an empty text."""
    try:
        program = program_at(ifindex)
        if program is None:
            return "no program of ours runs there"
        try:
            reached = play(program, ifindex, Backend(FOUR if is_ipv4(asked.address) else SIX, PORT), asked)
        finally:
            os.close(program)
    except libbpf.BpfError as error:
        return str(error)
    if reached is None:
        return "the packet was dropped"
    return "" if reached in backends else f"it goes to {endpoint_text(reached)}, which is none of its backends"


def syn(source: Backend, asked: Frontend) -> bytes:
    """Return the IP packet that opens a TCP connection."""
    four = is_ipv4(asked.address)
    begin = 12 if four else 0
    ends = source.address[begin:] + asked.address[begin:]
    head = struct.pack("!HHIIBBH", source.port, asked.port, 1, 0, 5 << 4, SYN, WINDOW)
    pseudo = ends + struct.pack("!II", len(head) + 4, socket.IPPROTO_TCP)
    segment = head + struct.pack("!HH", _checksum(pseudo + head + bytes(4)), 0)
    if not four:
        return struct.pack("!IHBB", 6 << 28, len(segment), socket.IPPROTO_TCP, HOPS) + ends + segment
    ip = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(segment), 1, 0, HOPS, socket.IPPROTO_TCP)
    return ip + struct.pack("!H", _checksum(ip + bytes(2) + ends)) + ends + segment


def _destination(frame: bytes) -> Backend:
    four = frame[ETHERNET - 2 : ETHERNET] == b"\x08\x00"
    at, length, ports = (ETHERNET + 16, 4, ETHERNET + 20) if four else (ETHERNET + 24, 16, ETHERNET + 40)
    address = frame[at : at + length]
    (port,) = struct.unpack_from("!H", frame, ports + 2)
    return Backend((bytes(10) + b"\xff\xff" if four else b"") + address, port)


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
