"""socklb/node_routes.py in a node's network namespace: the kernel's routes follow the Nodes."""

from __future__ import annotations

import asyncio
import ctypes as ct
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from socklb.config import Config
from socklb.desired.store import ObjectStore
from socklb.routes import node_routes
from socklb.routes.node_routes import NodeRoutes
from tests.packets.network import CLONE_NEWNET
from tests.unit.agent.shapes import gone, node, present, read

NAME = f"socklb-test-rt{os.getpid()}"


@pytest.fixture
def place() -> Iterator[None]:
    """A node with one link, in a network namespace without a way out; this thread is in it."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    subprocess.run(["ip", "netns", "add", NAME], check=True)
    with Path("/proc/thread-self/ns/net").open() as home, Path("/run/netns", NAME).open() as there:
        setns(there.fileno())
        try:
            ip("link", "set", "lo", "up")
            ip("link", "add", "eth0", "type", "veth", "peer", "name", "far")
            ip("address", "add", "172.18.0.3/24", "dev", "eth0")
            ip("address", "add", "fd00:172:18::3/64", "dev", "eth0", "nodad")
            for link in ("eth0", "far"):
                ip("link", "set", link, "up")
            yield
        finally:
            setns(home.fileno())
            subprocess.run(["ip", "netns", "delete", NAME], check=True)


def setns(namespace: int) -> None:
    assert not ct.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET)


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def shown() -> dict[str, str]:
    """Our routes as a person sees them."""
    lines = ip("-4", "route", "show", "proto", node_routes.PROTOCOL) + ip(
        "-6", "route", "show", "proto", node_routes.PROTOCOL
    )
    return {words[0]: words[2] for line in lines.splitlines() if (words := line.split())}


def the_node(number: int, *, last: int = 0) -> Any:
    """Node wN at 172.18.0.N with pods in 10.244.N.0/24, and the same over IPv6."""
    raw = node(f"w{number}", f"172.18.0.{last or number}", f"fd00:172:18::{last or number}")
    return read(
        {**raw, "spec": {"podCIDRs": [f"10.244.{number}.0/24", f"fd00:10:244:{number}::/64"]}}, node_routes.Node
    )


def way(number: int, last: int = 0) -> dict[str, str]:
    last = last or number
    return {f"10.244.{number}.0/24": f"172.18.0.{last}", f"fd00:10:244:{number}::/64": f"fd00:172:18::{last}"}


PODS = ("10.244.0.0/16", "fd00:10:244::/56")


class Agent:
    """What of the agent keeps routes."""

    def __init__(self) -> None:
        self.routes = NodeRoutes(Config(node="w3", manifests="/nowhere", node_routes=True, pod_cidrs=PODS))
        self.state = ObjectStore()

    def take(self, changes: Any, *, complete: bool = True) -> list[str]:
        self.routes.update(self.state, self.state.apply(changes).nodes, complete=complete)
        return [problem.message for problem in self.routes.problems]


def test_routes_follow_the_nodes(place: None) -> None:
    agent = Agent()
    assert agent.take(present(the_node(3), the_node(4), the_node(5))) == []
    assert shown() == way(4) | way(5)
    assert agent.take(present(the_node(5, last=55), the_node(6))) == []
    assert shown() == way(4) | way(5, last=55) | way(6)
    assert agent.take(gone(the_node(4))) == []
    assert shown() == way(5, last=55) | way(6)


def test_an_agent_that_starts_keeps_what_the_one_before_made_until_it_knows_better(place: None) -> None:
    Agent().take(present(the_node(4), the_node(5)))
    agent = Agent()
    agent.take(present(the_node(5)), complete=False)
    assert shown() == way(4) | way(5)
    agent.take((), complete=True)
    assert shown() == way(5)


def test_routes_that_went_with_their_link_come_back_at_the_next_look(place: None) -> None:
    agent = Agent()
    agent.take(present(the_node(4)))
    ip("link", "set", "eth0", "down")
    assert shown() == {}
    agent.routes.repair()
    assert [problem.message.partition(":")[0] for problem in agent.routes.problems] == ["node routes"] * 2
    ip("link", "set", "eth0", "up")
    ip("address", "replace", "fd00:172:18::3/64", "dev", "eth0", "nodad")  # went down with it
    agent.routes.repair()
    assert shown() == way(4)
    assert agent.routes.problems == []


def test_a_route_of_somebody_else_is_left_alone_and_named(place: None) -> None:
    ip("route", "add", "10.244.4.0/24", "via", "172.18.0.9")
    ip("route", "add", "10.244.5.0/24", "via", "172.18.0.5")
    agent = Agent()
    (problem,) = agent.take(present(the_node(4), the_node(5)))
    assert "the route to 10.244.4.0/24 leads to 172.18.0.9 instead of 172.18.0.4, and is not ours" in problem
    agent.take(gone(the_node(4), the_node(5)))
    assert shown() == {}
    assert "via 172.18.0.9" in ip("route", "show", "10.244.4.0/24")
    assert "via 172.18.0.5" in ip("route", "show", "10.244.5.0/24")


def test_a_route_that_is_used_in_place_of_ours_is_named(place: None) -> None:
    """Of several to one destination the kernel takes the lowest metric, which is 1024 for ours of IPv6."""
    agent = Agent()
    agent.take(present(the_node(4)))
    ip("route", "add", "fd00:10:244:4::/64", "via", "fd00:172:18::9", "metric", "1")
    ip("route", "add", "10.244.4.0/24", "via", "172.18.0.9", "metric", "50")  # ours has none: it goes on being used
    agent.routes.repair()
    (problem,) = agent.routes.problems
    assert "the route to fd00:10:244:4::/64 leads to fd00:172:18::9 instead of fd00:172:18::4" in problem.message
    assert sorted(node_routes.remove_all()) == sorted(way(4))


def test_a_node_of_another_network_is_named_and_does_not_keep_the_others_from_their_routes(place: None) -> None:
    far = node("w4", "192.0.2.4")
    problems = Agent().take(
        present(read({**far, "spec": {"podCIDRs": ["10.244.4.0/24"]}}, node_routes.Node), the_node(5))
    )
    assert problems == ["node routes: no route to 10.244.4.0/24: 192.0.2.4 is on no network of this node"]
    assert shown() == way(5)


def test_cleanup_removes_ours_alone(place: None) -> None:
    ip("route", "add", "10.244.9.0/24", "via", "172.18.0.9")
    Agent().take(present(the_node(4), the_node(5)))
    assert sorted(node_routes.remove_all()) == sorted(way(4) | way(5))
    assert shown() == {}
    assert "via 172.18.0.9" in ip("route", "show", "10.244.9.0/24")


def test_what_an_earlier_agent_made_goes_where_the_key_is_false_now(place: None) -> None:
    ip("route", "add", "10.244.9.0/24", "via", "172.18.0.9")
    Agent().take(present(the_node(4)))
    assert shown() == way(4)
    NodeRoutes(Config(node="w3", manifests="/nowhere")).leave()
    assert shown() == {}
    assert "via 172.18.0.9" in ip("route", "show", "10.244.9.0/24")


def test_without_the_key_nothing_is_touched(place: None) -> None:
    agent = Agent()
    agent.routes = NodeRoutes(Config(node="w3", manifests="/nowhere"))
    agent.take(present(the_node(4)))
    assert shown() == {}


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        pytest.param(["delete", "10.244.4.0/24"], "was removed by somebody else, and put back", id="deleted"),
        pytest.param(
            ["replace", "10.244.4.0/24", "via", "172.18.0.9"],
            "was led to 172.18.0.9 by somebody else (protocol boot), and put back",
            id="replaced",
        ),
        pytest.param(
            ["replace", "10.244.4.0/24", "via", "172.18.0.9", "proto", node_routes.PROTOCOL],
            "was led to 172.18.0.9 by somebody else (protocol 83), and put back",
            id="replaced, with our mark",
        ),
        pytest.param(
            ["replace", "10.244.4.0/24", "dev", "eth0"],
            "was led to a link by somebody else (protocol boot)",
            id="to a link",
        ),
        pytest.param(
            ["replace", "blackhole", "10.244.4.0/24"],
            "was led to a link by somebody else (protocol boot)",
            id="swallowed",
        ),
    ],
)
def test_what_is_done_to_a_route_is_undone_and_told(
    place: None, damage: list[str], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    agent = Agent()
    agent.take(present(the_node(4), the_node(5)))
    for _ in range(3):
        ip("route", *damage)
        agent.routes.repair()
        assert shown() == way(4) | way(5)
    (problem,) = agent.routes.problems
    assert told in problem.message
    assert problem.times == 3
    assert caplog.text.count(told) == 1


def test_damage_is_noticed_while_the_agent_runs_and_nothing_waits_for_it(
    place: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert node_routes.EVERY < 10
    monkeypatch.setattr(node_routes, "EVERY", 0.2)
    kernel_answers, look = threading.Event(), node_routes.look

    def slow_look(*arguments: Any, **options: Any) -> Any:
        assert kernel_answers.wait(30)
        return look(*arguments, **options)

    monkeypatch.setattr(node_routes, "look", slow_look)

    async def story() -> None:
        agent = Agent()
        looking = asyncio.create_task(agent.routes.looked_after())
        await asyncio.sleep(0)
        agent.take(present(the_node(4)))
        await asyncio.sleep(0)
        assert shown() == {}
        kernel_answers.set()
        await until(lambda: shown() == way(4))
        ip("route", "flush", "proto", node_routes.PROTOCOL)
        await until(lambda: shown() == way(4))
        await until(lambda: len(agent.routes.problems) == 1)
        looking.cancel()

    async def until(true: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not true():  # noqa: ASYNC110  (the kernel tells nobody)
                await asyncio.sleep(0.05)

    asyncio.run(story())


def test_it_ends_when_it_is_told_to_also_while_it_is_given_something_to_do(place: None) -> None:
    """asyncio.wait_for, before Python 3.12, forgets that it was cancelled where what it waited for came meanwhile."""

    async def story(ticks: int) -> None:
        agent = Agent()
        looking = asyncio.create_task(agent.routes.looked_after())
        await asyncio.sleep(0.01)
        agent.take(present(the_node(4)))
        for _ in range(ticks):
            await asyncio.sleep(0)
        looking.cancel()
        done, _ = await asyncio.wait([looking], timeout=5)
        assert done

    for ticks in range(6):
        asyncio.run(story(ticks))


def test_a_look_that_fails_is_told_and_the_next_one_comes(place: None, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent()
    with monkeypatch.context() as patch:
        patch.setattr(node_routes, "present", lambda: {}["dst"])
        (problem,) = agent.take(present(the_node(4)))
        assert "the routes cannot be read or changed: KeyError: 'dst'" in problem
    agent.routes.repair()
    assert shown() == way(4)
    assert agent.routes.problems == []
