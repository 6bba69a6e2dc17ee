"""A network namespace that nothing leaves: every address is its own, so what a hook makes of an address is seen there.

    with Sealed() as sealed:
        sealed.run(lambda: connect(frontend, serving, records))

It belongs to one thread of this process, whose cgroup and therefore hooks it has; no process, no file, no device of the
node's is touched. A pod is the same to the hooks: a socket outside the node's own network.
"""

from __future__ import annotations

import ctypes as ct
import fcntl
import os
import select
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self, TypeVar

from socklb.netlink import ACK, attribute, exchange
from socklb.serving import Backend, Frontend, Serving, address_text, endpoint_text, is_ipv4, pack_address
from socklb.sockets.networks import CLONE_NEWNET
from socklb.sockets.records import Records

NETLINK_ROUTE, NEW_ROUTE, CREATE = 0, 24, 0x400
ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg
LOCAL_TABLE, BY_BOOT, HOST, LOCAL = 255, 3, 254, 2
ROUTE_OUTPUT = 4
SIOCSIFFLAGS, IFF_UP, LOOPBACK = 0x8914, 1, 1
PATIENCE = 2.0  # seconds

T = TypeVar("T")


class Sealed:
    """See the module."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        """Make it.

        Raises:
            OSError: the kernel refused.
        """
        try:
            self.run(_make)
        except BaseException:
            self._thread.shutdown()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()

    def run(self, act: Callable[[], T]) -> T:
        """Run something inside."""
        return self._thread.submit(act).result()


def _make() -> None:
    if ct.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ct.get_errno(), os.strerror(ct.get_errno()), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    for family in (socket.AF_INET, socket.AF_INET6):
        everywhere = ROUTE.pack(
            family, 0, 0, 0, LOCAL_TABLE, BY_BOOT, HOST if family == socket.AF_INET else 0, LOCAL, 0
        )
        route = everywhere + attribute(ROUTE_OUTPUT, struct.pack("=I", LOOPBACK))
        with suppress(OSError):  # a kernel without IPv6; what is asked there fails by itself
            list(exchange(NETLINK_ROUTE, NEW_ROUTE, ACK | CREATE, route))


def connect(asked: Frontend, serving: Serving, records: Records) -> str:
    """Connect to a frontend; say what is not as it should be, or nothing."""
    try:
        if asked.protocol == socket.IPPROTO_UDP:
            return _connect_udp(asked, serving, records)
        return _connect_tcp(asked, serving)
    except OSError as error:
        return f"connect(): {error.strerror or error}"


def _connect_tcp(asked: Frontend, serving: Serving) -> str:
    """Every backend listens here: who accepts says where the connection was led."""
    family = family_of(asked)
    with ExitStack() as opened:
        listeners = [opened.enter_context(_listener(family, port)) for port in {one.port for one in serving.backends}]
        client = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
        client.settimeout(PATIENCE)
        client.connect(end_of(asked))
        name = client.getpeername()[:2]
        reached = _accepted(listeners)
    if reached not in serving.backends:
        return f"it was led to {endpoint_text(reached)}, which is none of its backends"
    return _misnamed(name, asked)


def _connect_udp(asked: Frontend, serving: Serving, records: Records) -> str:
    with socket.socket(family_of(asked), socket.SOCK_DGRAM) as client:
        client.connect(end_of(asked))
        known = records.newest(client)
        if known is None or known.given not in serving.backends:
            return f"it was led to {endpoint_text(known.given) if known else 'no backend'}"
        return _misnamed(client.getpeername()[:2], asked)


def refused(asked: Frontend) -> str:
    """Ask where nobody serves; say what came instead of a refusal, or nothing. Somebody listens if no hook refuses."""
    kind = socket.SOCK_DGRAM if asked.protocol == socket.IPPROTO_UDP else socket.SOCK_STREAM
    with ExitStack() as opened:
        try:
            if kind == socket.SOCK_STREAM:
                opened.enter_context(_listener(family_of(asked), asked.port))
            client = opened.enter_context(socket.socket(family_of(asked), kind))
            client.settimeout(PATIENCE)
            client.connect(end_of(asked))
        except ConnectionRefusedError:
            return ""
        except OSError as error:
            return f"connect(): {error.strerror or error}"
    return "connect() was not refused"


def _misnamed(name: tuple[str, int], asked: Frontend) -> str:
    return "" if name == end_of(asked) else f"getpeername() gives {name[0]} port {name[1]}"


def _listener(family: socket.AddressFamily, port: int) -> socket.socket:
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of before are in TIME_WAIT
    if family == socket.AF_INET6:
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    found.bind(("", port))
    found.listen()
    return found


def _accepted(listeners: list[socket.socket]) -> Backend:
    """Give where a connection came in.

    Raises:
        TimeoutError: nowhere.
    """
    for listener in select.select(listeners, [], [], PATIENCE)[0]:
        connection, _ = listener.accept()
        with connection:
            host, port = connection.getsockname()[:2]
            return Backend(pack_address(host), port)
    raise TimeoutError("it came in nowhere")


def family_of(asked: Frontend) -> socket.AddressFamily:
    """Give the family that a client has."""
    return socket.AF_INET if is_ipv4(asked.address) else socket.AF_INET6


def end_of(asked: Frontend) -> tuple[str, int]:
    """Give where to connect, as sockets say it."""
    return address_text(asked.address), asked.port
