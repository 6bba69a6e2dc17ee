"""Programs that tell what they decide: each decision once, with who, why and which backend; no trace of them later."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rig.sandbox import BACKENDS4, BACKENDS6, NODE4, PORT, Sandbox, ask_tcp, ask_udp, udp_client
from socklb.datapath.decisions import Decision, unpack
from socklb.datapath.features import SET_ERRNO
from socklb.datapath.links import HOOKS, pinned_info
from socklb.datapath.node_datapath import OBJECT_FILES, NodeDatapath
from socklb.datapath.own_network import cookie_of
from socklb.datapath.sizes import Sizes
from socklb.model import Addresses, Difference, address_text, pack_address
from tests.datapath.services import SERVICE4, SERVICE6, frontend, serving, web

Told = tuple[str, str, str, str, str | None]  # hook, asked, verdict, reason, given
OWN = os.getpid()


@pytest.fixture
def served(datapath: NodeDatapath) -> Iterator[NodeDatapath]:
    datapath.tables.apply(web(BACKENDS4[:1], BACKENDS6[:1]))
    yield datapath
    datapath.unobserve()


def brief(decision: Decision) -> Told:
    asked, given = decision.asked, decision.given
    return (
        decision.hook,
        f"{address_text(asked[0])} {asked[1]}",
        decision.verdict,
        decision.reason,
        given and f"{address_text(given[0])} {given[1]}",
    )


def told(node: NodeDatapath, sandbox: Sandbox, act: Callable[[], object]) -> list[Told]:
    """Return what is told of the hooks of a process that does something and ends."""
    return [brief(one) for one in seen(node, sandbox, act) if one.hook[:-1] != "bind"]


def seen(node: NodeDatapath, sandbox: Sandbox, act: Callable[[], object]) -> list[Decision]:
    node.observe()
    sandbox.run(act)
    raw, lost = node.decisions()
    node.unobserve()
    assert lost == 0
    return list(unpack(raw))


@pytest.mark.parametrize("object_file", OBJECT_FILES, indirect=True)
def test_a_connection_is_told_with_its_backend_and_its_name(served: NodeDatapath, sandbox: Sandbox) -> None:
    assert told(served, sandbox, lambda: ask_tcp(SERVICE4, 80)) == [
        ("connect4", f"{SERVICE4} 80", "translated", "random", f"{BACKENDS4[0]} {PORT}"),
        ("getpeername4", f"{SERVICE4} 80", "translated", "given back", f"{BACKENDS4[0]} {PORT}"),
    ]
    assert told(served, sandbox, lambda: ask_tcp(SERVICE6, 80)) == [
        ("connect6", f"{SERVICE6} 80", "translated", "random", f"{BACKENDS6[0]} {PORT}"),
        ("getpeername6", f"{SERVICE6} 80", "translated", "given back", f"{BACKENDS6[0]} {PORT}"),
    ]


@pytest.mark.parametrize("object_file", OBJECT_FILES, indirect=True)
def test_a_datagram_and_its_answer_and_a_second_one_that_keeps_its_backend(
    served: NodeDatapath, sandbox: Sandbox
) -> None:
    def ask_twice() -> None:
        with udp_client(SERVICE4) as client:
            ask_udp(client, SERVICE4, 80)
            ask_udp(client, SERVICE4, 80)

    backend = f"{BACKENDS4[0]} {PORT}"
    answer = ("recvmsg4", f"{SERVICE4} 80", "translated", "given back", backend)
    assert told(served, sandbox, ask_twice) == [
        ("sendmsg4", f"{SERVICE4} 80", "translated", "random", backend),
        answer,
        ("sendmsg4", f"{SERVICE4} 80", "translated", "kept", backend),
        answer,
    ]


@pytest.mark.needs(SET_ERRNO)
def test_refusals_say_why(served: NodeDatapath, sandbox: Sandbox) -> None:
    empty = "10.96.0.99"
    services = Addresses(services=frozenset({pack_address(empty)}))
    served.tables.apply(Difference(put={frontend(empty): serving()}, add=services))

    def ask() -> None:
        for address, port in ((empty, 80), (SERVICE4, 81)):
            with pytest.raises(ConnectionRefusedError):
                ask_tcp(address, port)

    assert told(served, sandbox, ask) == [
        ("connect4", f"{empty} 80", "refused", "no endpoint", None),
        ("connect4", f"{SERVICE4} 81", "refused", "no such port", None),
    ]


def test_what_is_no_services_passes(served: NodeDatapath, sandbox: Sandbox) -> None:
    def ask() -> None:
        with udp_client(BACKENDS4[0]) as client:
            ask_udp(client, BACKENDS4[0], PORT)

    assert told(served, sandbox, ask) == [
        ("sendmsg4", f"{BACKENDS4[0]} {PORT}", "passed", "no Service's", None),
        ("recvmsg4", f"{BACKENDS4[0]} {PORT}", "passed", "no record", None),
    ]


@pytest.mark.parametrize(
    ("how", "reasons"),
    [({"affinity": 60}, ["random", "affinity"]), ({"least_loaded": True}, ["least-loaded", "least-loaded"])],
)
def test_how_a_backend_was_chosen(
    served: NodeDatapath, sandbox: Sandbox, how: dict[str, int], reasons: list[str]
) -> None:
    served.tables.apply(Difference(put={frontend(SERVICE4): serving(*BACKENDS4[:3], **how)}))

    def connect_twice() -> None:
        ask_tcp(SERVICE4, 80)
        ask_tcp(SERVICE4, 80)

    found = [one for one in told(served, sandbox, connect_twice) if one[0] == "connect4"]
    assert [reason for _, _, _, reason, _ in found] == reasons
    assert (found[0][4] == found[1][4]) or "affinity" not in how


@pytest.mark.needs(SET_ERRNO)
def test_a_port_that_a_service_has(served: NodeDatapath, sandbox: Sandbox) -> None:
    addresses = Addresses(nodes=frozenset({pack_address(NODE4)}), own=frozenset({pack_address(NODE4)}))
    served.tables.apply(Difference(put={frontend("0.0.0.0", port=30080): serving(BACKENDS4[0])}, add=addresses))
    from tests.datapath.loaded import this_node

    netns = sandbox.run(lambda: __import__("socklb.datapath.features", fromlist=["_"]).netns_cookie())
    this_node(served, netns)

    def listen() -> None:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
        with socket.socket() as server, pytest.raises(OSError, match="in use") as refused:
            server.bind((NODE4, 30080))
        assert refused.value.errno == errno.EADDRINUSE

    free, taken = [brief(one) for one in seen(served, sandbox, listen)]
    assert free == ("bind4", "127.0.0.1 0", "passed", "no Service's", None)
    assert taken == ("bind4", f"{NODE4} 30080", "refused", "port in use", None)


def test_who_asked(served: NodeDatapath, sandbox: Sandbox) -> None:
    def ask() -> tuple[int, int, str]:
        Path("/proc/self/comm").write_text("a-client")
        with udp_client(SERVICE4) as client:
            client.connect((SERVICE4, 80))
            return os.getpid(), cookie_of(client), Path("/proc/self/comm").read_text().strip()

    served.observe()
    pid, cookie, command = sandbox.run(ask)  # type: ignore[misc]
    (connect,) = [one for one in unpack(served.decisions()[0]) if one.hook == "connect4"]
    assert (connect.pid, connect.cookie, connect.command) == (pid, cookie, command)
    assert connect.cgroup == sandbox.cgroup.stat().st_ino
    assert connect.protocol == socket.IPPROTO_UDP


def programs(node: NodeDatapath) -> dict[str, int]:
    return {name: info.prog_id for name in HOOKS if (info := pinned_info(node.pins.links / name))}


def test_the_programs_of_before_run_again_and_are_never_gone(served: NodeDatapath, sandbox: Sandbox) -> None:
    before = programs(served)
    assert len(before) == len(HOOKS)
    served.observe()
    assert not programs(served).items() & before.items()
    assert served.keeper.damage() == {}  # they are taken for ours
    served.unobserve()
    assert programs(served) == before
    assert served.keeper.damage() == {}
    assert served.decisions() == (b"", 0)


def test_no_call_goes_by_untranslated_while_programs_are_swapped(served: NodeDatapath, sandbox: Sandbox) -> None:
    def connect() -> int:
        done = 0
        with contextlib.suppress(FileNotFoundError):
            while (stop_when_gone).stat():
                ask_tcp(SERVICE4, 80)
                done += 1
        return done

    stop_when_gone = Path(f"/tmp/socklb-test-observing-{OWN}")
    stop_when_gone.touch()
    job = sandbox.start(connect)
    for _ in range(10):
        served.observe()
        served.unobserve()
    stop_when_gone.unlink()
    assert int(str(job.result())) > 10


def test_another_program_at_a_hook_is_damage_while_it_observes_too(served: NodeDatapath, tmp_path: Path) -> None:
    from tests.datapath.meddling import replace_program

    served.observe()
    watching = programs(served)
    replace_program(served.pins.links / "connect4", tmp_path)
    assert list(served.keeper.damage()) == ["connect4"]
    assert served.keeper.repair() == []
    assert programs(served) == watching


def test_what_finds_no_room_is_counted(served: NodeDatapath, sandbox: Sandbox) -> None:
    def pass_by() -> None:
        with udp_client(BACKENDS4[0]) as client:
            for _ in range(50_000):
                client.connect((BACKENDS4[0], PORT))

    served.observe()
    sandbox.run(pass_by)
    taken, lost = 0, 0
    while got := served.decisions():
        taken, lost = taken + len(list(unpack(got[0]))), lost + got[1]
        if not got[0]:
            break
    assert lost > 0
    assert taken + lost == 50_000


@contextmanager
def growing(bpffs: Path, sandbox: Sandbox, objects: Path) -> Iterator[NodeDatapath]:
    most = Sizes(4096, 8192)
    with NodeDatapath(bpffs, sandbox.cgroup, objects, Sizes(1024, 2048), most=most) as node:
        try:
            yield node
        finally:
            node.pins.remove()


def test_tables_that_grow_go_on_being_watched(bpffs: Path, sandbox: Sandbox, objects: Path) -> None:
    with growing(bpffs, sandbox, objects) as node:
        node.tables.apply(web(BACKENDS4[:1]))
        node.attach()
        node.observe()
        sandbox.run(lambda: ask_tcp(SERVICE4, 80))
        node.grow(Sizes(2048, 4096))
        sandbox.run(lambda: ask_tcp(SERVICE4, 80))
        found = [one.hook for one in unpack(node.decisions()[0])]
        assert found == ["connect4", "getpeername4"] * 2
        assert node.keeper.damage() == {}
        node.unobserve()
        sandbox.run(lambda: ask_tcp(SERVICE4, 80))


def test_hooks_that_are_not_attached_cannot_be_watched(bpffs: Path, sandbox: Sandbox, objects: Path) -> None:
    from socklb.errors import SocklbError

    with growing(bpffs, sandbox, objects) as node, pytest.raises(SocklbError, match="not attached"):
        node.observe()
