"""The agent's own connect: what it tells while the hooks translate, and when they are attached and do not."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from rig.agents import AgentUnderTest
from rig.sandbox import Sandbox
from socklb.agent import connect_check
from socklb.agent.connect_check import CGROUP, ConnectCheck
from socklb.datapath import asking
from socklb.datapath.node_datapath import NodeDatapath
from socklb.model import Backend, Difference, Frontend, Serving, pack_address
from tests.datapath.meddling import detach
from tests.datapath.services import SERVICE4
from tests.datapath.test_damage import serving, within  # noqa: F401 - a fixture
from tests.datapath.test_health import scrape
from tests.unit.agent.following import story

FAMILIES = pytest.mark.parametrize("family", asking.LOOPBACK, ids=["IPv4", "IPv6"])
# Which hook is asked by what, as the answer says it.
TOLD = {
    "connect": "connect() to",
    "sendmsg": "sendto() to",
    "recvmsg": "recvfrom() gives the backend",
    "getpeername": "getpeername() of what asked",
}


def asked_with_a_frontend(datapath: NodeDatapath, family: socket.AddressFamily) -> str:
    with ExitStack() as opened:
        listener, decoy = (opened.enter_context(asking.loopback(family)) for _ in range(2))
        host = pack_address(asking.LOOPBACK[family])
        frontend = Frontend(host, decoy.getsockname()[1], socket.IPPROTO_UDP)
        with datapath.tables.lent({frontend: Serving((Backend(host, listener.getsockname()[1]),))}) as fits:
            assert fits
            return asking.ask(listener, decoy)


@FAMILIES
def test_every_hook_is_asked(datapath: NodeDatapath, sandbox: Sandbox, family: socket.AddressFamily) -> None:
    assert sandbox.run(lambda: asked_with_a_frontend(datapath, family)) == ""
    assert "not translated" in sandbox.run(lambda: asked_with_a_frontend(datapath, family), hooked=False)


@FAMILIES
@pytest.mark.parametrize("kind", TOLD)
def test_the_hook_that_is_missing_is_told(
    datapath: NodeDatapath, sandbox: Sandbox, family: socket.AddressFamily, kind: str
) -> None:
    detach(datapath.pins.links / f"{kind}{4 if family == socket.AF_INET else 6}")
    assert TOLD[kind] in sandbox.run(lambda: asked_with_a_frontend(datapath, family))


def test_what_is_lent_is_no_frontend_of_ours(datapath: NodeDatapath) -> None:
    tables = datapath.tables
    tables.apply(Difference(put={Frontend(pack_address(SERVICE4), 80, 6): Serving()}))
    before = (tables.frontends, tables.fill(), dict(tables.writes), tables.without_backends)
    with tables.lent({Frontend(pack_address("127.0.0.1"), 9, 17): Serving((Backend(pack_address("127.0.0.1"), 8),))}):
        assert (tables.frontends, tables.fill()[0], tables.without_backends) == (before[0], before[1][0], before[3])
    assert (tables.frontends, tables.fill(), dict(tables.writes), tables.without_backends) == before


def test_the_agent_asks_from_a_cgroup_below_the_nodes(serving: AgentUnderTest, sandbox: Sandbox) -> None:  # noqa: F811
    within(10, lambda: serving.status()["connect"]["translated"])
    assert "translated by the hooks, tried" in serving.run("status").stdout
    assert scrape(serving)["socklb_connect_translated",] == 1
    assert not cgroup_of(sandbox).exists()


def test_a_datagram_that_loopback_drops_says_nothing_of_the_hooks(datapath: NodeDatapath, sandbox: Sandbox) -> None:
    """By a firewall of the node's, for one."""

    def ask() -> str:
        try:
            return asked_with_a_frontend(datapath, socket.AF_INET)
        except TimeoutError as error:
            return str(error)

    rules = (
        "add table ip t; add chain ip t c { type filter hook input priority 0; }; add rule ip t c meta l4proto udp drop"
    )
    in_sandbox = ["ip", "netns", "exec", sandbox.name, "nft"]
    subprocess.run([*in_sandbox, rules], check=True)
    try:
        assert sandbox.run(ask) == "a datagram to loopback did not arrive"
    finally:
        subprocess.run([*in_sandbox, "delete table ip t"], check=True)
    assert sandbox.run(ask) == ""


@pytest.mark.parametrize("lost", [True, False], ids=["no answer", "an answer"])
@story
async def test_a_try_without_a_result_is_soon_followed_by_another(
    datapath: NodeDatapath, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    def ask(*_: object) -> str:
        if lost:
            raise TimeoutError("a datagram to loopback did not arrive")
        return ""

    monkeypatch.setattr(asking, "ask", ask)
    monkeypatch.setattr(connect_check, "AGAIN", 0.05)
    check = ConnectCheck(datapath)
    await check.look()
    assert check.facts.translated is (None if lost else True)
    assert not check.due
    await asyncio.sleep(0.1)
    assert check.due is lost


@story
async def test_an_end_while_it_asks_from_below_leaves_nothing(datapath: NodeDatapath, sandbox: Sandbox) -> None:
    asking_now = await caught_asking(datapath, cgroup_of(sandbox))
    asking_now.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking_now
    await asyncio.to_thread(within, 10, lambda: not cgroup_of(sandbox).exists())
    assert datapath.tables.frontends == frozenset()


async def caught_asking(datapath: NodeDatapath, cgroup: Path) -> asyncio.Task[None]:
    """Return a look that is at work in its cgroup: one lasts some milliseconds, and may be over before it is seen."""
    for _ in range(100):
        asking_now = asyncio.create_task(ConnectCheck(datapath).look())
        while not asking_now.done():
            await asyncio.sleep(0)
            if cgroup.exists():  # noqa: ASYNC240 - a cgroup is looked up in memory
                return asking_now
    raise AssertionError("no look was seen at work")


def cgroup_of(sandbox: Sandbox) -> Path:
    return sandbox.cgroup / CGROUP
