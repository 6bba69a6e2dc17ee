"""Cgroups that are left out: their processes' sockets go by as they are, and are served again afterwards."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

import pytest

from rig.sandbox import BACKENDS4, BACKENDS6, NODE4, Sandbox, ask_tcp, ask_udp, mounted_bpffs, remove_cgroup, udp_client
from socklb.datapath import features, layout, left_out
from socklb.datapath.maps import HashTable, RowTable
from socklb.datapath.node_datapath import OBJECT_FILES, NodeDatapath
from socklb.model import ANY4, Addresses, Difference, Frontend, pack_address
from tests.datapath.loaded import instead_of_the_best, skip_without, this_node
from tests.datapath.services import SERVICE4, SERVICE6, serving, web

T = TypeVar("T")
MAPPED = f"::ffff:{SERVICE4}"
NESTED = "container/of/a/container"
OTHER = "other"


@pytest.fixture(params=OBJECT_FILES)
def object_file(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def node(sandbox: Sandbox, objects: Path, tmp_path: Path, object_file: str) -> Iterator[NodeDatapath]:
    """A node that may leave cgroups out, with a pod's cgroup that has some below it, and another pod's."""
    skip_without(*features.OBJECTS[object_file])
    pod, home = sandbox.cgroup / "kubepods" / "pod", tmp_path / "objects"
    for folder in (pod / NESTED, sandbox.cgroup / "kubepods" / OTHER):
        folder.mkdir(parents=True)
    home.mkdir()
    instead_of_the_best(objects / object_file, home)
    try:
        with mounted_bpffs(tmp_path / "bpffs") as bpffs, loaded(bpffs, sandbox, home) as found:
            found.tables.apply(web())
            found.attach()
            yield found
            found.pins.remove()
    finally:
        for folder in sorted((sandbox.cgroup / "kubepods").rglob("*/"), reverse=True):
            remove_cgroup(folder)
        remove_cgroup(sandbox.cgroup / "kubepods")


def loaded(bpffs: Path, sandbox: Sandbox, objects: Path) -> NodeDatapath:
    return NodeDatapath(bpffs, sandbox.cgroup, objects, leave_out=True)


def pod_of(node: NodeDatapath) -> int:
    return (node.cgroup / "kubepods" / "pod").stat().st_ino


def leave_out(node: NodeDatapath, *names: str) -> bool:
    """Have these cgroups left out, and no others."""
    return node.left_out.bring((node.cgroup / name).stat().st_ino for name in names)


KNOWN = 1 << 12  # rows of what hooks found
POD, OF_OTHER = "kubepods/pod", f"kubepods/{OTHER}"


def run(sandbox: Sandbox, within: str, work: Callable[[], T]) -> T:
    """Run in a cgroup below the node's."""

    def there() -> T:
        (sandbox.cgroup / within / "cgroup.procs").write_text("0")
        return work()

    return sandbox.run(there)


def by_connect(address: str) -> Callable[[], str]:
    """Return the name of who answers a connected TCP socket; no route leads to a Service, so it fails untranslated."""

    def ask() -> str:
        try:
            answer, peer = ask_tcp(address, 80)
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        assert peer == f"{address} 80"
        return answer

    return ask


def by_sendmsg(address: str) -> Callable[[], str]:
    def ask() -> str:
        with udp_client(address) as client:
            try:
                answer, source = ask_udp(client, address, 80)
            except OSError as error:
                return errno.errorcode[error.errno or 0]
        assert source == f"{address} 80"
        return answer

    return ask


WAYS = {
    "TCP, IPv4": by_connect(SERVICE4),
    "TCP, IPv6": by_connect(SERVICE6),
    "TCP, mapped": by_connect(MAPPED),
    "UDP, IPv4": by_sendmsg(SERVICE4),
    "UDP, IPv6": by_sendmsg(SERVICE6),
    "UDP, mapped": by_sendmsg(MAPPED),
}
SERVERS = {*BACKENDS4[:2], *BACKENDS6[:2]}


def answers(sandbox: Sandbox, within: str) -> dict[str, str]:
    """Ask in every way."""
    return run(sandbox, within, lambda: {name: ask() for name, ask in WAYS.items()})


def is_served(found: dict[str, str]) -> bool:
    return set(found.values()) <= SERVERS


@pytest.mark.parametrize("within", [POD, f"{POD}/{NESTED}"], ids=["its own", "nested"])
def test_a_pod_is_translated_before_not_after_and_then_again(sandbox: Sandbox, node: NodeDatapath, within: str) -> None:
    assert is_served(answers(sandbox, within))
    leave_out(node, POD)
    assert answers(sandbox, within) == dict.fromkeys(WAYS, "ENETUNREACH")
    assert is_served(answers(sandbox, OF_OTHER)), "the control: a pod beside it"
    assert is_served(answers(sandbox, "pod")), "the control: one that is not so deep"
    leave_out(node)
    assert is_served(answers(sandbox, within))


def peer_and_name() -> tuple[str, str]:
    """Return what a connected socket is told, and where it goes."""
    with udp_client(SERVICE4) as client:
        client.connect((SERVICE4, 80))
        return client.getpeername()[0], Path("/proc/self/net/udp").read_text()


def test_a_socket_that_is_left_out_has_the_service_for_its_peer(sandbox: Sandbox, node: NodeDatapath) -> None:
    def with_a_route() -> tuple[str, str]:
        sandbox_route("add")
        try:
            return peer_and_name()
        finally:
            sandbox_route("delete")

    hexed = {ip: socket.inet_aton(ip)[::-1].hex().upper() for ip in (SERVICE4, *BACKENDS4[:2])}
    leave_out(node, POD)
    told, table = run(sandbox, POD, with_a_route)
    assert told == SERVICE4
    assert hexed[SERVICE4] in table
    told, table = run(sandbox, OF_OTHER, with_a_route)
    assert told == SERVICE4
    assert hexed[SERVICE4] not in table


def sandbox_route(act: str) -> None:
    os.system(f"ip route {act} local {SERVICE4}/32 dev lo")


def test_a_socket_that_was_given_a_backend_keeps_it(sandbox: Sandbox, node: NodeDatapath) -> None:
    """A connected one. An unconnected one is told whose its answers are, and goes by from its next datagram on."""
    pipe_there, pipe_here = os.pipe(), os.pipe()

    def work() -> tuple[str, str, str]:
        with udp_client(SERVICE4) as connected, udp_client(SERVICE4) as other:
            connected.connect((SERVICE4, 80))
            other.sendto(b"?", (SERVICE4, 80))
            os.write(pipe_here[1], b".")
            os.read(pipe_there[0], 1)
            connected.send(b"?")
            source = other.recvfrom(100)[1]
            with suppress(OSError):
                other.sendto(b"?", (SERVICE4, 80))
                return "sent", "", ""
            return connected.recv(100).decode(), connected.getpeername()[0], source[0]

    def there() -> object:
        (sandbox.cgroup / POD / "cgroup.procs").write_text("0")
        return work()

    job = sandbox.start(there)
    os.read(pipe_here[0], 1)
    leave_out(node, POD)
    os.write(pipe_there[1], b".")
    server, *told = job.result()  # type: ignore[misc]
    assert server in BACKENDS4[:2]
    assert told == [SERVICE4, SERVICE4]
    for end in (*pipe_there, *pipe_here):
        os.close(end)


def test_a_node_port_is_left_alone_and_stays_free_of_listeners(sandbox: Sandbox, node: NodeDatapath) -> None:
    any_address = Frontend(ANY4, 32000, socket.IPPROTO_TCP)
    here = frozenset({pack_address(NODE4)})
    node.tables.apply(Difference(put={any_address: serving(BACKENDS4[0])}, add=Addresses(nodes=here, own=here)))

    def listen() -> str:
        with socket.socket() as server:
            try:
                server.bind((NODE4, 32000))
            except OSError as error:
                return errno.errorcode[error.errno or 0]
        return "bound"

    assert run(sandbox, POD, lambda: ask_tcp(NODE4, 32000)[0]) == BACKENDS4[0]
    this_node(node, sandbox.run(own_network))
    before = run(sandbox, POD, listen)
    leave_out(node, POD)
    with pytest.raises(AssertionError, match="ConnectionRefusedError"):
        run(sandbox, POD, lambda: ask_tcp(NODE4, 32000))
    assert run(sandbox, POD, listen) == before


def own_network() -> int:
    from socklb.datapath.features import netns_cookie

    return netns_cookie()


def test_pods_at_several_depths_are_left_out_together(sandbox: Sandbox, node: NodeDatapath) -> None:
    leave_out(node, f"{POD}/container/of", OF_OTHER, "pod")
    assert node.left_out.since.keys() == {
        (node.cgroup / n).stat().st_ino for n in (f"{POD}/container/of", OF_OTHER, "pod")
    }
    for within, is_left_out in ((f"{POD}/{NESTED}", True), (OF_OTHER, True), ("pod", True), (POD, False), ("", False)):
        assert is_served(answers(sandbox, within)) is not is_left_out


def test_what_has_no_room_in_the_table_waits(node: NodeDatapath) -> None:
    room = node.left_out.fill.capacity
    node.left_out.bring([pod_of(node)])
    node.left_out.bring([*(1 << 40 | number for number in range(room)), pod_of(node)])
    assert node.left_out.waiting == 1
    assert pod_of(node) in node.left_out.since, "those that are in it stay"
    assert node.left_out.fill.used == room
    node.left_out.bring([])
    assert (node.left_out.waiting, node.left_out.since) == (0, left_out.read(node.pins.maps)) == (0, {})


def test_a_cgroup_that_shares_a_row_with_another_is_told_from_it(sandbox: Sandbox, node: NodeDatapath) -> None:
    """Rows are found by the low bits of ids; what stands in one of them may be of another cgroup, and says who."""
    leave_out(node, POD)
    with closing(RowTable(node.pins.maps, "known_cgroups", 8)) as rows:
        for id_, verdict in ((pod_of(node), 0), ((node.cgroup / OF_OTHER).stat().st_ino, 1)):
            rows.publish(id_ % KNOWN, 0, (id_ + KNOWN) << 1 | verdict)
    assert not is_served(answers(sandbox, POD))
    assert is_served(answers(sandbox, OF_OTHER))


def element_taken_out(node: NodeDatapath) -> None:
    with closing(HashTable(node.pins.maps, "left_out", 8, 8)) as table:
        table.delete([layout.CGROUP_ID.pack(pod_of(node))])


def said_to_be_empty(node: NodeDatapath) -> None:
    with closing(RowTable(node.pins.maps, "known_cgroups", 8)) as rows:
        rows.publish(KNOWN, 0, 0)


@pytest.mark.parametrize("damage", [element_taken_out, said_to_be_empty])
@pytest.mark.parametrize("object_file", OBJECT_FILES[:1], indirect=True)
def test_what_somebody_else_took_out_is_put_back(
    sandbox: Sandbox, node: NodeDatapath, damage: Callable[[NodeDatapath], None]
) -> None:
    leave_out(node, POD)
    assert not leave_out(node, POD)
    damage(node)
    assert is_served(answers(sandbox, f"{POD}/{NESTED}")), "the control: it is damage"
    assert leave_out(node, POD)
    assert not is_served(answers(sandbox, f"{POD}/{NESTED}"))
    assert node.left_out.repairs == 1


@pytest.mark.parametrize("object_file", OBJECT_FILES[:1], indirect=True)
def test_what_somebody_else_wrote_of_a_cgroup_is_forgotten_soon(
    sandbox: Sandbox, node: NodeDatapath, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_out(node, POD)
    with closing(RowTable(node.pins.maps, "known_cgroups", 8)) as rows:
        rows.publish(pod_of(node) % KNOWN, 0, pod_of(node) << 1)
    leave_out(node, POD)
    assert is_served(answers(sandbox, POD)), "the control: it is damage"
    monkeypatch.setattr(left_out, "FORGET_EVERY", 0)
    leave_out(node, POD)
    assert not is_served(answers(sandbox, POD))


@pytest.mark.parametrize("object_file", OBJECT_FILES[:1], indirect=True)
def test_a_cgroup_that_somebody_else_added_is_taken_out(sandbox: Sandbox, node: NodeDatapath) -> None:
    leave_out(node, OF_OTHER)
    with closing(HashTable(node.pins.maps, "left_out", 8, 8)) as table:
        table.put([(layout.CGROUP_ID.pack(pod_of(node)), layout.SINCE.pack(1))])
    assert not is_served(answers(sandbox, POD))
    assert leave_out(node, OF_OTHER)
    assert is_served(answers(sandbox, POD))


@pytest.mark.parametrize("object_file", OBJECT_FILES[:1], indirect=True)
def test_it_stays_while_no_agent_runs_and_the_next_one_knows_since_when(
    sandbox: Sandbox, node: NodeDatapath, objects: Path
) -> None:
    leave_out(node, POD)
    since = node.left_out.since
    node.pins.unlock()
    with loaded(node.pins.bpffs, sandbox, objects) as following:
        assert not is_served(answers(sandbox, POD))
        assert following.left_out.since == since == left_out.read(following.pins.maps)
        following.attach()
        assert not is_served(answers(sandbox, POD))
        assert not leave_out(following, POD)
        assert following.left_out.since == since


@pytest.mark.parametrize("object_file", OBJECT_FILES[:1], indirect=True)
def test_where_nothing_may_be_left_out_nothing_is(sandbox: Sandbox, node: NodeDatapath, objects: Path) -> None:
    """The instructions are not there: a configuration without a word of it costs nothing."""
    leave_out(node, POD)
    node.pins.unlock()
    with NodeDatapath(node.pins.bpffs, sandbox.cgroup, objects) as following:
        following.attach()
        assert is_served(answers(sandbox, POD))
