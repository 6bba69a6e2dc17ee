"""Hooks and pins that somebody damages under a running agent: noticed, told, put back within ten seconds."""

from __future__ import annotations

import copy
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rig.agents import AgentUnderTest, endpoint_slice, node, service
from rig.sandbox import BACKENDS4, NODE4, Sandbox, ask_tcp, ask_udp, remove_cgroup, udp_client
from socklb.datapath import libbpf
from socklb.datapath.links import HOOKS
from socklb.datapath.pins import Pins
from tests.datapath.meddling import detach, replace_program
from tests.datapath.services import SERVICE4
from tests.datapath.test_health import scrape

WITHIN = 10.0  # seconds


@pytest.fixture
def serving(agent: AgentUnderTest) -> AgentUnderTest:
    agent.write("web.yaml", node("w1", NODE4), service("web", SERVICE4), endpoint_slice("web-4", *BACKENDS4[:2]))
    agent.start()
    return agent


def is_served(sandbox: Sandbox) -> bool:
    """TCP and UDP, with the Service's address as the one that answered."""
    try:
        tcp, _ = sandbox.run(lambda: ask_tcp(SERVICE4, 80))
        udp, source = sandbox.run(lambda: ask_udp(udp_client(SERVICE4), SERVICE4, 80))
    except AssertionError:  # it carries the error of the process
        return False
    return {tcp, udp} <= set(BACKENDS4[:2]) and source == f"{SERVICE4} 80"


def within(seconds: float, condition: Callable[[], object]) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)


def told(status: dict[str, Any], text: str) -> list[str]:
    return [problem["message"] for problem in status["problems"] if text in problem["message"]]


def every_pin(agent: AgentUnderTest, act: Callable[[Path], object]) -> None:
    for name in HOOKS:
        act(Pins(agent.bpffs).links / name)


def unmount(agent: AgentUnderTest) -> None:
    subprocess.run(["umount", "--lazy", agent.bpffs], check=True)


def one_pin_for_another(agent: AgentUnderTest) -> None:
    links = Pins(agent.bpffs).links
    (links / "connect4").unlink()
    (links / "connect6").rename(links / "connect4")


def links_of(agent: AgentUnderTest, name: str) -> Path:
    return Pins(agent.bpffs).links / name


DAMAGE: dict[str, tuple[Callable[[AgentUnderTest], object], str]] = {
    "every link detached": (lambda agent: every_pin(agent, detach), "not attached: "),
    "recvmsg4 alone detached": (lambda agent: detach(links_of(agent, "recvmsg4")), "not attached: recvmsg4"),
    "recvmsg4 alone unpinned": (lambda agent: links_of(agent, "recvmsg4").unlink(), "not pinned: recvmsg4"),
    "one link pinned for another": (one_pin_for_another, "not pinned: connect4, connect6"),
    "the program of a link replaced": (
        lambda agent: replace_program(links_of(agent, "connect4"), agent.home),
        "running a program that is not ours: connect4",
    ),
    "a table unpinned": (lambda agent: (Pins(agent.bpffs).maps / "backends").unlink(), "not pinned: table backends"),
    "all pins removed": (lambda agent: shutil.rmtree(Pins(agent.bpffs).root), "not pinned: table frontends"),
    "the BPF file system unmounted": (unmount, "not mounted: BPF file system"),
}


@pytest.mark.parametrize(("damage", "text"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_told_and_put_back(
    sandbox: Sandbox, serving: AgentUnderTest, damage: Callable[[AgentUnderTest], object], text: str
) -> None:
    assert is_served(sandbox)
    damage(serving)
    begin = time.monotonic()
    serving.until(lambda status: told(status, text))
    assert scrape(serving)["socklb_alarm", "hooks_damaged"] == 1
    within(WITHIN, lambda: is_served(sandbox))
    serving.until(lambda status: status["problems"] == [])
    assert time.monotonic() - begin < WITHIN
    assert serving.log.count("the hooks were damaged from outside: ") in {1, 2}  # a look may come half way
    assert text in serving.log
    assert serving.log.count("the hooks are whole again") == 1
    found = scrape(serving)
    assert found["socklb_alarm", "hooks_damaged"] == 0
    assert found["socklb_hook_repairs_total",] >= 1
    assert {found["socklb_hook_attached", name] for name in HOOKS} == {1}
    serving.kill(signal.SIGKILL)  # what was put back is pinned, and outlives the agent
    assert is_served(sandbox)
    assert "11 of 11 attached and effective" in serving.run("status").stdout


def test_a_cgroup_that_is_made_anew_gets_its_hooks(sandbox: Sandbox, agent: AgentUnderTest) -> None:
    place = copy.copy(sandbox)
    place.cgroup = sandbox.base / "again"
    place.cgroup.mkdir()
    agent.configure(cgroup=str(place.cgroup))
    agent.write("web.yaml", node("w1", NODE4), service("web", SERVICE4), endpoint_slice("web-4", *BACKENDS4[:2]))
    agent.start()
    assert is_served(place)
    remove_cgroup(place.cgroup)
    agent.until(lambda status: told(status, f"gone: cgroup {place.cgroup}"))
    assert "0 of 11 attached and effective" in agent.run("status").stdout
    place.cgroup.mkdir()
    assert not is_served(place)
    within(WITHIN, lambda: is_served(place))
    agent.until(lambda status: status["problems"] == [])
    agent.stop()
    remove_cgroup(place.cgroup)


def test_hooks_of_an_earlier_agent_are_looked_after_before_the_source_has_said_anything(
    sandbox: Sandbox, serving: AgentUnderTest
) -> None:
    serving.kill(signal.SIGKILL)
    serving.manifests.rename(serving.home / "elsewhere")  # as an API server that is out of reach
    serving.launch()
    serving.until(lambda _: True)
    detach(links_of(serving, "connect4"))
    within(WITHIN, lambda: is_served(sandbox))


def test_what_cannot_be_put_back_is_told_with_the_reason_and_the_rest_is(
    sandbox: Sandbox, serving: AgentUnderTest, tmp_path: Path
) -> None:
    """A folder stands where a link is to be pinned."""
    (links := Pins(serving.bpffs).links / "connect4").unlink()
    links.mkdir()
    status = serving.until(lambda status: told(status, "not repaired"))
    assert "connect4" in told(status, "not repaired")[0]
    assert is_served(sandbox)  # by the link that the agent holds
    links.rmdir()
    serving.until(lambda status: status["problems"] == [])
    assert libbpf.get_pinned(links)
