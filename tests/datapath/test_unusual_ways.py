"""Unusual ways to a Service: each gives through the hooks what it gives outside them, where packets are translated."""

from __future__ import annotations

import ctypes as ct
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from rig.sandbox import POD as POD_CGROUP
from rig.sandbox import PORT, Sandbox, enter_network, sh
from socklb.datapath import mounts
from socklb.datapath.node_datapath import NodeDatapath
from tests.datapath import io_uring
from tests.datapath.io_uring import Message, Ring, place, sockaddr
from tests.datapath.test_node_ports import in_a_pod
from tests.datapath.test_odd_sockets import NODE_PORT, POD, TCP, UDP, V, W, beside_packets, disconnect, oracle

__all__ = ["beside_packets", "oracle"]  # fixtures
SO_BINDTODEVICE, IP_TRANSPARENT = 25, 19
CLONE_NEWCGROUP = 0x02000000
FOREIGN = "198.51.100.9"
PROCESSES, EACH = 16, 250


def tcp() -> socket.socket:
    client = socket.socket(socket.AF_INET, TCP)
    client.settimeout(10)
    return client


def talk(client: socket.socket) -> list[object]:
    """Return who answers a connected TCP socket, and what its peer is called."""
    with client:
        return [client.recv(100).decode(), client.getpeername()]


def connect(client: socket.socket) -> list[object]:
    client.connect((V, 80))
    return talk(client)


def by_io_uring_tcp() -> list[object]:
    client = socket.socket(socket.AF_INET, TCP)
    with Ring() as ring:
        ring.connect(client.fileno(), sockaddr(V, 80))
    return talk(client)


def by_io_uring_udp() -> list[object]:
    with Ring() as ring, socket.socket(socket.AF_INET, UDP) as client:
        ring.send(client.fileno(), Message(b"?", sockaddr(V, 80)))
        answer = Message(b"", b"")
        length = ring.receive(client.fileno(), answer)
        return [answer.data.raw[:length].decode(), place(answer.name.raw)]


class MMsgHdr(ct.Structure):
    _fields_ = (("header", io_uring.MsgHdr), ("length", ct.c_uint))


def by_sendmmsg() -> list[object]:
    libc = ct.CDLL(None, use_errno=True)
    with socket.socket(socket.AF_INET, UDP) as client:  # it waits: recvmmsg() knows nothing of Python's timeouts
        asked, answer = Message(b"?", sockaddr(V, 80)), Message(b"", b"")
        assert libc.sendmmsg(client.fileno(), (MMsgHdr * 1)(MMsgHdr(asked.header)), 1, 0) == 1
        assert libc.recvmmsg(client.fileno(), (MMsgHdr * 1)(MMsgHdr(answer.header)), 1, 0, None) == 1
        return [answer.data.value.decode(), place(answer.name.raw)]


def by_sendmmsg_to_two() -> list[object]:
    libc = ct.CDLL(None, use_errno=True)
    with socket.socket(socket.AF_INET, UDP) as client:  # it waits: recvmmsg() knows nothing of Python's timeouts
        asked = [Message(b"?", sockaddr(vip, 80)) for vip in (V, W)]
        assert libc.sendmmsg(client.fileno(), (MMsgHdr * 2)(*(MMsgHdr(m.header) for m in asked)), 2, 0) == 2
        answers = [Message(b"", b"") for _ in asked]
        many = (MMsgHdr * 2)(*(MMsgHdr(message.header) for message in answers))
        assert libc.recvmmsg(client.fileno(), many, 2, 0, None) == 2
        return sorted(place(answer.name.raw) for answer in answers)


def again_after_disconnecting(kind: int) -> list[object]:
    peers: list[object] = []
    with socket.socket(socket.AF_INET, kind) as client:
        for to in ((V, 80), (POD, PORT), (W, 80)):
            client.connect(to)
            if kind == TCP:
                assert client.recv(100).decode() == POD  # or the server would write to a connection that was reset
            peers.append(client.getpeername())
            disconnect(client)
    return peers


def bound_to_a_device() -> list[object]:
    client = tcp()
    client.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"lo\0")
    return connect(client)


def with_a_foreign_source() -> list[object]:
    client = tcp()
    client.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
    client.bind((FOREIGN, 0))
    return connect(client)


def in_a_pods_cgroup() -> list[object]:
    """In a cgroup of its own below the node's, which to this process is all of the tree."""
    root = mounts.cgroup2_root(mounts.read_mounts())
    assert root
    own = next(line[4:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::/"))
    (root / own / POD_CGROUP / "cgroup.procs").write_text("0")
    assert ct.CDLL(None).unshare(CLONE_NEWCGROUP) == 0
    assert "0::/\n" in Path("/proc/self/cgroup").read_text()
    return connect(tcp())


ROWS: dict[str, tuple[Callable[[], list[object]], list[object]]] = {
    "sendmmsg and recvmmsg": (by_sendmmsg, [POD, (V, 80)]),
    "sendmmsg to two Services with one pod": (by_sendmmsg_to_two, [(V, 80), (W, 80)]),
    "TCP again after connect(AF_UNSPEC)": (lambda: again_after_disconnecting(TCP), [(V, 80), (POD, PORT), (W, 80)]),
    "UDP again after connect(AF_UNSPEC)": (lambda: again_after_disconnecting(UDP), [(V, 80), (POD, PORT), (W, 80)]),
    "SO_BINDTODEVICE": (bound_to_a_device, [POD, (V, 80)]),
    "a transparent proxy's source address": (with_a_foreign_source, [POD, (V, 80)]),
    "a cgroup and a cgroup namespace of its own": (in_a_pods_cgroup, [POD, (V, 80)]),
}
if io_uring.is_enabled():
    ROWS |= {
        "io_uring connect": (by_io_uring_tcp, [POD, (V, 80)]),
        "io_uring sendmsg and recvmsg": (by_io_uring_udp, [POD, (V, 80)]),
    }
WHERE = pytest.mark.parametrize("hooked", [True, False], ids=["hooked", "control"])


@pytest.fixture(autouse=True)
def foreign(sandbox: Sandbox) -> None:
    """Answers to a transparent proxy's source come to the node, as TPROXY's route has it."""
    sh("ip", "-n", sandbox.name, "route", "replace", "local", FOREIGN, "dev", "lo")


@WHERE
@pytest.mark.parametrize(("use", "expected"), ROWS.values(), ids=ROWS)
def test_reaches_the_service_by_its_name(
    sandbox: Sandbox,
    beside_packets: NodeDatapath,
    use: Callable[[], list[object]],
    expected: list[object],
    hooked: bool,
) -> None:
    assert sandbox.run(use, hooked=hooked) == expected


@pytest.mark.parametrize("made_hooked", [True, False])
def test_a_socket_passed_to_another_cgroup_is_served_where_it_was_made(
    sandbox: Sandbox, beside_packets: NodeDatapath, made_hooked: bool
) -> None:
    """SCM_RIGHTS: the hooks of a socket are those of the cgroup that it was made in."""
    giving, taking = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def give() -> None:
        with tcp() as client:
            socket.send_fds(giving, [b"x"], [client.fileno()])
        giving.recv(1)

    def take() -> list[object]:
        _, (fd,), _, _ = socket.recv_fds(taking, 1, 1)
        client = socket.socket(fileno=fd)
        client.settimeout(10)
        found = connect(client)
        taking.send(b"x")
        return found

    with giving, taking:
        job = sandbox.start(give, hooked=made_hooked)
        assert sandbox.run(take, hooked=not made_hooked) == [POD, (V, 80)]
        job.result()


@WHERE
def test_a_socket_made_before_setns_is_of_the_network_it_was_made_in(
    sandbox: Sandbox, beside_packets: NodeDatapath, hooked: bool
) -> None:
    """So localhost means the node, whose NodePort it reaches from within a pod."""

    def use() -> list[object]:
        with Path("/proc/self/ns/net").open() as pod:
            enter_network(sandbox.name)
            client = tcp()
            assert ct.CDLL(None).setns(pod.fileno(), 0x40000000) == 0
        client.connect(("127.0.0.1", NODE_PORT))
        return talk(client)

    assert in_a_pod(sandbox, use, hooked=hooked) == [POD, ("127.0.0.1", NODE_PORT)]


@WHERE
def test_a_link_local_address_with_its_scope_is_left_alone(
    sandbox: Sandbox, beside_packets: NodeDatapath, hooked: bool
) -> None:
    def use() -> bool:
        sh("ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1")
        for device in ("d0", "d1"):
            sh("ip", "link", "set", device, "up")
        sh("ip", "address", "add", "fe80::1/64", "dev", "d0", "nodad")
        at = ("fe80::1", NODE_PORT, 0, socket.if_nametoindex("d0"))
        with socket.socket(socket.AF_INET6, TCP) as server, socket.socket(socket.AF_INET6, TCP) as client:
            server.bind(at)
            server.listen()
            client.connect(at)
            return server.accept()[1] == client.getsockname() and client.getpeername() == at

    assert in_a_pod(sandbox, use, hooked=hooked)


def test_four_thousand_connects_at_once(sandbox: Sandbox, beside_packets: NodeDatapath) -> None:
    def connect_many() -> int:
        held = [socket.socket(socket.AF_INET, TCP) for _ in range(EACH)]
        for client in held:
            client.settimeout(20)
            client.connect((V, 80))
        assert {client.getpeername() for client in held} == {(V, 80)}
        assert {client.recv(100).decode() for client in held} == {POD}
        return len(held)

    jobs = [sandbox.start(connect_many) for _ in range(PROCESSES)]
    assert sum(job.result() for job in jobs) == PROCESSES * EACH  # type: ignore[misc]
