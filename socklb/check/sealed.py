"""An isolated network namespace: every address is its own, so the address that a hook chose can be seen there.

    problems = run(partial(connect, asked))     # one for each of [(Frontend, Serving)], "" if all is well

It belongs to a child of this process, which has its cgroup and therefore its hooks; no file and no device of the node
is touched. To the hooks it is like a pod: a socket outside the node's own network namespace. Without CAP_SYS_ADMIN it
is made within a user namespace.
"""

from __future__ import annotations

import ctypes as ct
import errno
import fcntl
import os
import pickle
import select
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from typing import NoReturn, TypeVar

from socklb.libc import libc
from socklb.model import Backend, Frontend, Serving, address_text, endpoint_text, is_ipv4, pack_address
from socklb.netlink import ACK, attribute, exchange
from socklb.sockets.networks import CLONE_NEWNET

CLONE_NEWUSER = 0x10000000
NETLINK_ROUTE, NEW_ROUTE, CREATE = 0, 24, 0x400
ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg
LOCAL_TABLE, BY_BOOT, HOST, LOCAL = 255, 3, 254, 2
ROUTE_OUTPUT = 4
SIOCSIFFLAGS, IFF_UP, LOOPBACK = 0x8914, 1, 1
IP_PKTINFO, IPV6_RECVPKTINFO, IPV6_PKTINFO = 8, 49, 50
PATIENCE = 2.0  # seconds

T = TypeVar("T")


def run(act: Callable[[], T]) -> T:
    """Run something in a new one; its result is pickled.

    Raises:
        OSError: the kernel refused the namespace, or the child ended without an answer.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        _answer(act, writing)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as answers:
            told = answers.read()
    finally:
        os.waitpid(child, 0)
    if not told:
        raise OSError(errno.ECHILD, "it came to an end without a word")
    done, result = pickle.loads(told)
    if not done:
        raise result
    return result


def _answer(act: Callable[[], object], writing: int) -> NoReturn:
    """Do the child's work."""
    try:
        try:
            _make()
            told = pickle.dumps((True, act()))
        except Exception as error:  # noqa: BLE001 - the parent raises it
            told = pickle.dumps((False, error))
        with os.fdopen(writing, "wb") as answers:
            answers.write(told)
    finally:
        os._exit(0)


def _make() -> None:
    if libc.unshare(CLONE_NEWNET) and (ct.get_errno() != errno.EPERM or libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)):
        raise OSError(ct.get_errno(), os.strerror(ct.get_errno()), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    for family in (socket.AF_INET, socket.AF_INET6):
        everywhere = ROUTE.pack(
            family, 0, 0, 0, LOCAL_TABLE, BY_BOOT, HOST if family == socket.AF_INET else 0, LOCAL, 0
        )
        route = everywhere + attribute(ROUTE_OUTPUT, struct.pack("=I", LOOPBACK))
        with suppress(OSError):  # a kernel without IPv6; requests over it fail by themselves
            list(exchange(NETLINK_ROUTE, NEW_ROUTE, ACK | CREATE, route))


def connect(asked: Iterable[tuple[Frontend, Serving]]) -> list[str]:
    """Connect to frontends; return for each what is wrong, or an empty text."""
    return [_connect(frontend, serving) for frontend, serving in asked]


def _connect(asked: Frontend, serving: Serving) -> str:
    """Connect to a frontend. Every backend listens here, so the listener that is reached shows where the client was
    sent.
    """
    udp = asked.protocol == socket.IPPROTO_UDP
    kind, accepted = (socket.SOCK_DGRAM, _received) if udp else (socket.SOCK_STREAM, _accepted)
    family = family_of(asked)
    try:
        with ExitStack() as opened:
            ports = {one.port for one in serving.backends}
            listeners = [opened.enter_context(_listener(family, kind, port)) for port in ports]
            client = opened.enter_context(socket.socket(family, kind))
            client.settimeout(PATIENCE)
            client.connect(end_of(asked))
            name = client.getpeername()[:2]
            if udp:
                client.send(b"")
            reached = accepted(listeners)
    except OSError as error:
        return f"connect(): {error.strerror or error}"
    if reached not in serving.backends:
        return f"it was led to {endpoint_text(reached)}, which is none of its backends"
    return "" if name == end_of(asked) else f"getpeername() gives {name[0]} port {name[1]}"


def refused_all(asked: Iterable[Frontend]) -> list[str]:
    """Connect to frontends without backends; return for each what came instead of a refusal, or an empty text."""
    return [refused(frontend) for frontend in asked]


def refused(asked: Frontend) -> str:
    """Connect to a frontend without backends; return what came instead of a refusal, or an empty text.

    If no hook refuses, there is a listener.
    """
    kind = socket.SOCK_DGRAM if asked.protocol == socket.IPPROTO_UDP else socket.SOCK_STREAM
    with ExitStack() as opened:
        try:
            if kind == socket.SOCK_STREAM:
                opened.enter_context(_listener(family_of(asked), kind, asked.port))
            client = opened.enter_context(socket.socket(family_of(asked), kind))
            client.settimeout(PATIENCE)
            client.connect(end_of(asked))
        except ConnectionRefusedError:
            return ""
        except OSError as error:
            return f"connect(): {error.strerror or error}"
    return "connect() was not refused"


def _listener(family: socket.AddressFamily, kind: socket.SocketKind, port: int) -> socket.socket:
    found = socket.socket(family, kind)
    if family == socket.AF_INET6:
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        found.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
    else:
        found.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    if kind == socket.SOCK_STREAM:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # earlier connections are in TIME_WAIT
    found.bind(("", port))
    if kind == socket.SOCK_STREAM:
        found.listen()
    return found


def _accepted(listeners: list[socket.socket]) -> Backend:
    """Return the listener that a connection reached.

    Raises:
        TimeoutError: none.
    """
    for listener in select.select(listeners, [], [], PATIENCE)[0]:
        connection, _ = listener.accept()
        with connection:
            host, port = connection.getsockname()[:2]
            return Backend(pack_address(host), port)
    raise TimeoutError("it came in nowhere")


def _received(listeners: list[socket.socket]) -> Backend:
    """Return the listener that a datagram reached (ip(7), ipv6(7): the destination is last in in_pktinfo, first in
    in6_pktinfo).

    Raises:
        TimeoutError: none.
    """
    for listener in select.select(listeners, [], [], PATIENCE)[0]:
        _, about, _, _ = listener.recvmsg(1, socket.CMSG_SPACE(20))
        for level, kind, data in about:
            if (level, kind) in ((socket.IPPROTO_IP, IP_PKTINFO), (socket.IPPROTO_IPV6, IPV6_PKTINFO)):
                four = level == socket.IPPROTO_IP
                host = socket.inet_ntop(*((socket.AF_INET, data[8:12]) if four else (socket.AF_INET6, data[:16])))
                return Backend(pack_address(host), listener.getsockname()[1])
    raise TimeoutError("it came in nowhere")


def family_of(asked: Frontend) -> socket.AddressFamily:
    """Return the family of the client's socket."""
    return socket.AF_INET if is_ipv4(asked.address) else socket.AF_INET6


def end_of(asked: Frontend) -> tuple[str, int]:
    """Return the address to connect to, in the format of the socket module."""
    return address_text(asked.address), asked.port
