"""Connected UDP sockets follow their Service: a backend that leaves takes nobody with it."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from rig.agents import AgentUnderTest, endpoint_slice, node, service
from rig.sandbox import BACKENDS4, BACKENDS6, NODE4, PORT, Job, Sandbox, remove_cgroup
from socklb.datapath import layout
from socklb.datapath.links import detach_pinned
from socklb.datapath.maps import RowTable
from socklb.datapath.node_datapath import NodeDatapath
from socklb.datapath.pins import Pins
from socklb.errors import SocklbError
from socklb.sockets.moving import Mover, NotTranslatedError
from socklb.sockets.records import Records
from tests.datapath.pods import Pod
from tests.datapath.services import SERVICE4, SERVICE6, web

OLD4, NEW4 = BACKENDS4[:2]
OLD6, NEW6 = BACKENDS6[:2]
IN_FLIGHT = 5  # datagrams
WAIT = 20.0

Follow = tuple[str, str, int]  # who answers, the peer, the own port


@pytest.fixture
def serving(agent: AgentUnderTest) -> AgentUnderTest:
    agent.write("web.yaml", node("w1", NODE4), service("web", SERVICE4, SERVICE6, node_port=30080))
    backends(agent, 1, OLD4, OLD6)
    agent.start()
    return agent


def backends(agent: AgentUnderTest, generation: int, *addresses: str) -> None:
    """Say who serves."""
    for name, colon in (("web-4", False), ("web-6", True)):
        of_family = [address for address in addresses if (":" in address) is colon]
        slice_ = endpoint_slice(name, *of_family, generation=generation)
        agent.write(f"{name}.yaml", {**slice_, "addressType": "IPv6" if colon else "IPv4"})


def moved(agent: AgentUnderTest, **ways: int) -> None:
    agent.until(lambda status: {way: status["moved"][way] for way in ways} == ways)


def client(asked: str, port: int = 80, family: int = 0) -> socket.socket:
    found = socket.socket(family or (socket.AF_INET6 if ":" in asked else socket.AF_INET), socket.SOCK_DGRAM)
    found.settimeout(WAIT)
    found.connect((f"::ffff:{asked}" if family else asked, port))
    return found


def facts(asking: socket.socket) -> Follow:
    asking.send(b"?")
    answer = asking.recv(100).decode()
    peer = asking.getpeername()
    return answer, f"{peer[0]} {peer[1]}", asking.getsockname()[1]


def asked_twice(
    home: Path, opened: Callable[[], socket.socket] = lambda: client(SERVICE4)
) -> Callable[[], list[Follow]]:
    """Ask by one socket, and again by the same once somebody says that it was moved, without connecting it."""

    def ask() -> list[Follow]:
        asking = opened()
        first = facts(asking)
        (home / "asked").touch()
        wait_for(home, "moved")
        return [first, facts(asking)]

    return ask


def before_and_after(sandbox: Sandbox, serving: AgentUnderTest, opened: Callable[[], socket.socket]) -> list[Follow]:
    """Ask by one socket before its backend leaves and after that."""
    job = sandbox.start(asked_twice(serving.home, opened))
    wait_for(serving, "asked")
    backends(serving, 2, NEW4, NEW6)
    moved(serving, connected=1, destroyed=0, left=0)
    (serving.home / "moved").touch()
    return result(job)


def wait_for(where: AgentUnderTest | Path, name: str) -> None:
    home, end = where if isinstance(where, Path) else where.home, time.monotonic() + WAIT
    while not (home / name).exists():
        assert time.monotonic() < end, f"nobody made {name}"
        time.sleep(0.002)


def result(job: Job) -> Any:
    return job.result()


@pytest.mark.parametrize(
    ("asked", "port", "family", "old", "new"),
    [
        (SERVICE4, 80, 0, OLD4, NEW4),
        (SERVICE6, 80, 0, OLD6, NEW6),
        (SERVICE4, 80, socket.AF_INET6, OLD4, NEW4),
        (NODE4, 30080, 0, OLD4, NEW4),
    ],
    ids=["IPv4", "IPv6", "IPv4-mapped", "NodePort"],
)
def test_a_socket_keeps_port_and_peer_and_gets_another_backend(
    sandbox: Sandbox, serving: AgentUnderTest, asked: str, port: int, family: int, old: str, new: str
) -> None:
    first, second = before_and_after(sandbox, serving, lambda: client(asked, port, family))
    assert (first[0], second[0]) == (old, new)
    assert first[1:] == second[1:]
    assert first[1] == (f"::ffff:{asked} {port}" if family else f"{asked} {port}")


def test_one_that_terminates_is_left_while_others_are_ready(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    def ask() -> list[Follow]:
        asking = client(SERVICE4)
        found = [facts(asking)]
        for name, then in (("asked", "alone"), ("asked again", "moved")):
            (serving.home / name).touch()
            wait_for(serving, then)
            found.append(facts(asking))
        return found

    job = sandbox.start(ask)
    wait_for(serving, "asked")
    slice_ = endpoint_slice("web-4", OLD4, generation=2)
    slice_["endpoints"][0]["conditions"] = {"ready": False, "serving": True, "terminating": True}
    serving.write("web-4.yaml", slice_)
    serving.applied("EndpointSlice/default/web-4", 2)
    (serving.home / "alone").touch()
    wait_for(serving, "asked again")
    slice_["metadata"]["generation"] = 3
    slice_["endpoints"].append({"addresses": [NEW4], "conditions": {"ready": True}})
    serving.write("web-4.yaml", slice_)
    moved(serving, connected=1)
    (serving.home / "moved").touch()
    assert [answer for answer, _, _ in result(job)] == [OLD4, OLD4, NEW4]


def test_who_waits_for_an_answer_gets_the_next_ones(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    """One thread waits in recv() all the time, another one sends each millisecond, with few unanswered at a time.

    Those are in flight, and may be lost when the socket is moved; after a while the sender expects no answer to them.
    """

    def ask() -> tuple[list[str], int, int]:
        asking, answers, sent, lost = client(SERVICE4), [], 0, 0

        def listen() -> None:
            while (answer := asking.recv(100)) != b"":
                answers.append(answer.decode())

        listening = threading.Thread(target=listen)
        listening.start()
        end = time.monotonic() + WAIT
        while answers[-20:] != [NEW4] * 20 and time.monotonic() < end:
            since = time.monotonic()
            while sent - len(answers) - lost >= IN_FLIGHT:
                time.sleep(0.001)
                if time.monotonic() > since + 1:
                    lost = sent - len(answers)
            asking.send(b"?")
            sent += 1
            if sent == 50:
                (serving.home / "asked").touch()
            time.sleep(0.001)
        time.sleep(0.2)
        asking.shutdown(socket.SHUT_RD)
        listening.join()
        return answers, sent, len(answers)

    job = sandbox.start(ask)
    wait_for(serving, "asked")
    backends(serving, 2, NEW4, NEW6)
    answers, sent, answered = result(job)
    assert answers == sorted(answers), "an answer of the old backend after one of the new"
    assert set(answers) == {OLD4, NEW4}
    assert sent - answered <= IN_FLIGHT, "more was lost than was in flight"


def test_what_left_while_no_agent_ran_is_found_at_the_start(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    job = sandbox.start(asked_twice(serving.home))
    wait_for(serving, "asked")
    serving.kill()
    backends(serving, 2, NEW4, NEW6)
    serving.start()
    moved(serving, connected=1)
    (serving.home / "moved").touch()
    assert [answer for answer, _, _ in result(job)] == [OLD4, NEW4]


def test_a_service_that_has_nobody_keeps_its_sockets_until_it_has(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    job = sandbox.start(asked_twice(serving.home))
    wait_for(serving, "asked")
    backends(serving, 2)
    serving.applied("EndpointSlice/default/web-4", 2)
    backends(serving, 3, NEW4, NEW6)
    moved(serving, connected=1, left=0)
    (serving.home / "moved").touch()
    first, second = result(job)
    assert (first[0], second[0]) == (OLD4, NEW4)
    assert first[1:] == second[1:]


@pytest.fixture
def bystanders(sandbox: Sandbox, serving: AgentUnderTest) -> Iterator[Job]:
    """Sockets at the old backend that no Service led there, or that follow nobody: they must stay as they are."""

    def ask() -> list[Any]:
        straight = client(OLD4, PORT)
        tcp = socket.create_connection((SERVICE4, 80), WAIT)
        turned = client(SERVICE4)
        turned.connect((OLD4, PORT))
        free = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        free.sendto(b"?", (SERVICE4, 80))
        own = tcp.getsockname()
        follower = client(SERVICE4)
        (serving.home / "asked").touch()
        wait_for(serving, "moved")
        told = [facts(one)[0] for one in (straight, turned, follower)]
        return [*told, tcp.recv(100).decode(), tcp.getsockname() == own, straight.getpeername()[0]]

    return sandbox.start(ask)


def test_nobody_else_is_touched(serving: AgentUnderTest, bystanders: Job) -> None:
    wait_for(serving, "asked")
    backends(serving, 2, NEW4, NEW6)
    moved(serving, connected=1, destroyed=0, left=0)
    (serving.home / "moved").touch()
    assert result(bystanders) == [OLD4, OLD4, NEW4, OLD4, True, OLD4]


def test_ten_thousand_sockets_move_at_once(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    def connect() -> None:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        for _ in range(2000):
            client(SERVICE4).detach()

    pods = [Pod(sandbox.cgroup, n, connect) for n in range(1, 6)]
    try:
        for pod in pods:
            pod.result()
        backends(serving, 2, NEW4, NEW6)
        moved(serving, connected=10_000, destroyed=0, left=0)
    finally:
        for pod in pods:
            pod.remove()


def unreachable(asking: socket.socket) -> str:
    """What the application is told by the next call that waits."""
    try:
        return asking.recv(100).decode()
    except OSError as error:
        return errno.errorcode[error.errno or 0]


@pytest.mark.parametrize(
    ("around", "told", "way"),
    [(["setpriv", "--bounding-set=-sys_ptrace"], "ECONNABORTED", "destroyed")],
)
def test_where_a_socket_may_not_be_had_the_kernel_closes_it(
    sandbox: Sandbox, serving: AgentUnderTest, around: list[str], told: str, way: str
) -> None:
    """Its process has a right that the agent lacks, so the agent may not have its descriptors."""

    def ask() -> str:
        asking = client(SERVICE4)
        facts(asking)
        (serving.home / "asked").touch()
        return unreachable(asking)

    serving.stop()
    serving.around = around
    serving.start()
    job = sandbox.start(ask)
    wait_for(serving, "asked")
    backends(serving, 2, NEW4, NEW6)
    moved(serving, **{"connected": 0, "destroyed": 0, "left": 0, way: 1})
    assert result(job) == told


def test_more_sockets_than_slots(sandbox: Sandbox, serving: AgentUnderTest, build: Callable[..., Path]) -> None:
    """The records of most are kept with the sockets."""

    def ask() -> list[set[str]]:
        asking = [client(SERVICE4) for _ in range(20)]
        first = {facts(one)[0] for one in asking}
        (serving.home / "asked").touch()
        wait_for(serving, "moved")
        return [first, {facts(one)[0] for one in asking}]

    serving.stop()
    Pins(serving.bpffs).remove()
    serving.configure(objects=str(build("-DSOCKET_SLOTS=4")))
    serving.start()
    job = sandbox.start(ask)
    wait_for(serving, "asked")
    backends(serving, 2, NEW4, NEW6)
    moved(serving, connected=20, destroyed=0, left=0)
    (serving.home / "moved").touch()
    assert result(job) == [{OLD4}, {NEW4}]


def test_without_hooks_nobody_is_moved(sandbox: Sandbox, datapath: NodeDatapath, tmp_path: Path) -> None:
    datapath.tables.apply(web((OLD4,), (OLD6,)))

    job, done = sandbox.start(asked_twice(tmp_path)), Counter[str]()
    wait_for(tmp_path, "asked")
    detach_pinned(datapath.pins.links / "connect4")
    with (
        closing(Records(datapath.pins.maps)) as records,
        closing(Mover(records, lambda _: True, done, lambda: False)) as mover,
        pytest.raises(NotTranslatedError),
    ):
        mover.move(records.slots())
    (tmp_path / "moved").touch()
    first, second = result(job)
    assert first == second
    assert not done


def test_hooks_that_were_away_again_and_again_hold_up_no_socket_for_long(
    sandbox: Sandbox, serving: AgentUnderTest
) -> None:
    """A full table of frontends beside it holds up nothing either."""
    serving.stop()
    Pins(serving.bpffs).remove()
    with serving.config.open("a") as file:
        file.write("max_frontends = 1024\n")
    serving.start()
    fill_frontends(serving)
    job, away = sandbox.start(asked_twice(serving.home)), Pins(serving.bpffs).links / "connect4"
    wait_for(serving, "asked")

    def has_failed_often(status: dict[str, Any]) -> bool:
        with suppress(OSError, SocklbError):  # it is being put back
            detach_pinned(away)
        return any(one["name"] == "sockets" and one["failures"] >= 7 for one in status["running"])

    serving.until(lambda status: has_failed_often(status) or status["hook_repairs"] > 0)
    for generation, (four, six) in enumerate([(NEW4, NEW6), (OLD4, OLD6)] * 5, start=2):
        backends(serving, generation, four, six)
        moves = generation - 1

        def ended(status: dict[str, Any]) -> bool:
            return status["moved"]["connected"] == moves or has_failed_often(status)  # noqa: B023 - in this round

        if held_up := serving.until(ended, 3 * WAIT)["moved"]["connected"] < moves:
            break  # else it was moved in a moment in which the hook was back: once more
    assert held_up
    moved(serving, connected=moves, destroyed=0, left=0)
    (serving.home / "moved").touch()
    assert [answer for answer, _, _ in result(job)] == [OLD4, four]


def fill_frontends(agent: AgentUnderTest) -> None:
    """By one Service of more ports than there is room for."""
    many = service("many", "10.96.0.99")
    many["spec"]["ports"] = [{"name": f"p{port}", "port": port, "targetPort": 1} for port in range(1, 1900)]
    agent.write("many.yaml", many)
    agent.until(lambda status: status["services"]["waiting"] > 500)


def test_a_backend_that_serves_again_before_its_socket_is_moved_keeps_it(
    sandbox: Sandbox, datapath: NodeDatapath, tmp_path: Path
) -> None:
    """Tables change while a pass is made. It is no sign that hooks do not work."""
    datapath.tables.apply(web((OLD4,), (OLD6,)))
    gone = [True, True, False]  # at the beginning of the pass, before the connect, after it

    job, done = sandbox.start(asked_twice(tmp_path)), Counter[str]()
    wait_for(tmp_path, "asked")
    with (
        closing(Records(datapath.pins.maps)) as records,
        closing(Mover(records, lambda _: gone.pop(0), done, lambda: True)) as mover,
    ):
        mover.move({cookie: record for cookie, record in records.slots().items() if gone.pop(0)})
    (tmp_path / "moved").touch()
    first, second = result(job)
    assert first == second
    assert not done
    assert not gone


def test_a_socket_that_outlives_the_hooks_cgroup_is_closed_and_holds_up_nobody(
    sandbox: Sandbox, agent: AgentUnderTest
) -> None:
    """The node's cgroup was made anew: hooks are on the new one, and sockets of the old one cannot be moved."""
    cgroup = sandbox.base / "again"
    cgroup.mkdir()

    def ask() -> list[object]:
        asking = []
        for number, then in enumerate(("gone", "moved")):
            (cgroup / "cgroup.procs").write_text("0")
            asking.append(client(SERVICE4))
            (sandbox.base / "cgroup.procs").write_text("0")
            first = facts(asking[-1])[0]
            assert first == OLD4
            (agent.home / f"asked {number}").touch()
            wait_for(agent, then)
        return [unreachable(asking[0]), facts(asking[1])[0]]

    agent.configure(cgroup=str(cgroup))
    agent.write("web.yaml", node("w1", NODE4), service("web", SERVICE4, SERVICE6))
    backends(agent, 1, OLD4, OLD6)
    agent.start()
    job = sandbox.start(ask)
    wait_for(agent, "asked 0")
    remove_cgroup(cgroup)
    agent.until(lambda status: "gone" in str(status["problems"]))
    cgroup.mkdir()
    agent.until(lambda status: not status["problems"])
    (agent.home / "gone").touch()
    wait_for(agent, "asked 1")
    backends(agent, 2, NEW4, NEW6)
    moved(agent, connected=1, destroyed=1, left=0)
    (agent.home / "moved").touch()
    assert result(job) == ["ECONNABORTED", NEW4]
    agent.stop()
    remove_cgroup(cgroup)


def test_moved_sockets_are_no_load(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    """Least-loaded counts TCP connections: they are the same after UDP sockets were moved."""
    counted = service("web", SERVICE4, SERVICE6)
    counted["metadata"]["annotations"] = {"socklb.io/balance": "least-loaded"}
    serving.write("web.yaml", node("w1", NODE4), counted)
    backends(serving, 2, OLD4, BACKENDS4[2], OLD6)
    serving.applied("EndpointSlice/default/web-4", 2)

    def ask() -> None:
        held = [socket.create_connection((SERVICE4, 80), WAIT) for _ in range(5)]
        held += [client(SERVICE4) for _ in range(5)]
        (serving.home / "asked").touch()
        wait_for(serving, "moved")

    job = sandbox.start(ask)
    wait_for(serving, "asked")
    with closing(RowTable(Pins(serving.bpffs).maps, "loads", layout.LOAD.size)) as loads:
        before = sum(loads.column(0))
        backends(serving, 3, NEW4, NEW6)
        moved(serving, connected=5, destroyed=0, left=0)
        assert (before, sum(loads.column(0))) == (5, 5)
        (serving.home / "moved").touch()
        result(job)
        assert sum(loads.column(0)) == 0
