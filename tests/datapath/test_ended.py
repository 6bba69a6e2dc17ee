"""What a socket was given is given back also where no release hook saw it end: its slot, and its count of a load."""

from __future__ import annotations

import ctypes as ct
import socket
from collections.abc import Callable
from contextlib import closing

import pytest

from rig.agents import AgentUnderTest, endpoint_slice, node, service
from rig.sandbox import BACKENDS4, NODE4, Sandbox
from socklb.datapath import dump, layout
from socklb.datapath.libbpf import BpfError
from socklb.datapath.maps import RowTable
from socklb.datapath.node_datapath import NodeDatapath
from socklb.datapath.pins import Pins
from socklb.model import Difference
from socklb.sockets import ended
from socklb.sockets.ended import Ended
from socklb.sockets.records import Records
from tests.datapath.meddling import detach
from tests.datapath.services import SERVICE4, frontend, serving
from tests.datapath.test_following import client, wait_for
from tests.unit.agent.following import story

TCP, UDP = 5, 5  # sockets that close while nobody sees it
GONE = 4711  # the cookie of a socket that nobody has
LIVE = 3  # one of TCP, one of UDP, one that is disconnected: the kernel does not list it


@pytest.fixture
def counting(agent: AgentUnderTest) -> AgentUnderTest:
    counted = service("web", SERVICE4)
    counted["metadata"]["annotations"] = {"socklb.io/balance": "least-loaded"}
    agent.write("web.yaml", node("w1", NODE4), counted, endpoint_slice("web-4", *BACKENDS4[:4]))
    agent.start()
    return agent


def held(agent: AgentUnderTest) -> tuple[int, int]:
    """Return how many slots are taken, and how many connections are counted."""
    maps = Pins(agent.bpffs).maps
    with closing(RowTable(maps, "loads", layout.LOAD.size)) as loads:
        return sum(fill.used for fill in dump.sockets(maps)), sum(loads.column(0))


def close_unseen(agent: AgentUnderTest) -> Callable[[], list[str]]:
    """Open sockets, close most of them once the release hook is away, and ask the others what they know at the end."""

    def work() -> list[str]:
        live = [socket.create_connection((SERVICE4, 80), 5), client(SERVICE4), client(SERVICE4)]
        disconnect(live[-1])
        unseen = [socket.create_connection((SERVICE4, 80), 5) for _ in range(TCP)]
        unseen += [client(SERVICE4) for _ in range(UDP)]
        (agent.home / "open").touch()
        wait_for(agent, "away")
        for one in unseen:
            one.close()
        (agent.home / "closed").touch()
        wait_for(agent, "told")
        return [one.getpeername()[0] for one in live[:2]]

    return work


def disconnect(one: socket.socket) -> None:
    """connect() to AF_UNSPEC: it has no port any more."""
    assert not ct.CDLL(None).connect(one.fileno(), bytes(16), 16)


@pytest.mark.parametrize("running", [True, False], ids=["an agent that puts hooks back", "an agent that starts"])
def test_slots_and_counts_are_given_back_and_nobody_elses(
    sandbox: Sandbox, counting: AgentUnderTest, *, running: bool
) -> None:
    job = sandbox.start(close_unseen(counting))
    wait_for(counting, "open")
    assert held(counting) == (LIVE + TCP + UDP, 1 + TCP)
    if not running:
        counting.kill()
    detach(Pins(counting.bpffs).links / "sock_release")
    (counting.home / "away").touch()
    wait_for(counting, "closed")
    assert held(counting) == (LIVE + TCP + UDP, 1 + TCP), "the hook was not away: this test proves nothing"
    if not running:
        counting.start()
    counting.until(lambda _: held(counting) == (LIVE, 1))
    assert f"ended without hooks given back: {TCP + UDP}" in counting.log
    (counting.home / "told").touch()
    assert job.result() == [SERVICE4, SERVICE4]
    assert held(counting) == (0, 0)


def test_nothing_is_given_back_while_processes_are_out_of_sight(sandbox: Sandbox, counting: AgentUnderTest) -> None:
    """Then nobody knows who lives: the agent is in a namespace of processes of its own."""
    job = sandbox.start(close_unseen(counting))
    wait_for(counting, "open")
    counting.kill()
    detach(Pins(counting.bpffs).links / "sock_release")
    (counting.home / "away").touch()
    wait_for(counting, "closed")
    counting.around = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    counting.start()
    counting.until(lambda _: "cannot be given back: a process in" in counting.log)
    assert held(counting) == (LIVE + TCP + UDP, 1 + TCP)
    (counting.home / "told").touch()
    job.result()
    counting.kill()  # unshare ignores what its child is to hear


def test_a_slot_is_given_back_once_and_by_its_own_cookie(sandbox: Sandbox, datapath: NodeDatapath) -> None:
    datapath.tables.apply(Difference(put={frontend(SERVICE4): serving(BACKENDS4[0], least_loaded=True)}))

    def end_them() -> tuple[list[bool], int]:
        held = [socket.create_connection((SERVICE4, 80), 5) for _ in range(2)]
        with closing(Records(datapath.pins.maps)) as records:
            cookie = min(records.slots())
        done = [datapath.end_socket(other) for other in (cookie + (1 << 18), 0, cookie, cookie)]
        count = loads(datapath)
        held.clear()
        return done, count

    assert sandbox.run(end_them) == ([False, False, True, False], 1)
    assert loads(datapath) == 0


@story
async def test_tables_that_are_unpinned_for_a_moment_lose_no_suspect(
    datapath: NodeDatapath, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ended, "FIRST", 0.0)
    with closing(RowTable(datapath.pins.maps, "sockets", layout.SOCKET_SLOT.size)) as slots:
        slots.write(GONE, layout.SOCKET_SLOT.pack(GONE, bytes(layout.PEER.size)))
    looking = Ended(datapath.pins.maps, sandbox.cgroup, datapath.end_socket)
    aside = datapath.pins.maps.rename(datapath.pins.maps.with_name("aside"))
    with pytest.raises(BpfError):
        await looking.look(1)
    aside.rename(datapath.pins.maps)
    for _ in range(2):
        await looking.look(1)
    assert [fill.used for fill in dump.sockets(datapath.pins.maps)] == [0]


def loads(datapath: NodeDatapath) -> int:
    with closing(RowTable(datapath.pins.maps, "loads", layout.LOAD.size)) as found:
        return sum(found.column(0))
