"""An agent that leaves cgroups out, as its configuration says: whom, since when, and how people see it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest

from rig.agents import AgentUnderTest, endpoint_slice, node, service
from rig.sandbox import BACKENDS4, NODE4, POD, Sandbox, ask_tcp
from socklb.datapath import layout
from socklb.datapath.maps import HashTable
from socklb.datapath.pins import Pins
from tests.datapath.pods import Pod
from tests.datapath.services import SERVICE4
from tests.datapath.test_monitor import begun, watching

PATTERN = "kubepods-besteffort-pod*.slice"
NUMBER, OTHER, LATER = 71, 72, 73


@pytest.fixture
def agent(agent: AgentUnderTest) -> AgentUnderTest:
    """An agent with a Service, that leaves out what a test says."""
    agent.write("web.yaml", node("w1", NODE4), service("web", SERVICE4), endpoint_slice("web-4", BACKENDS4[0]))
    return agent


def says(agent: AgentUnderTest, *patterns: str) -> None:
    """Configure the agent, and start it anew if it runs."""
    agent.stop()
    agent.configure()
    with agent.config.open("a") as config:
        config.write(f"bypass_cgroups = {json.dumps(patterns)}\n")
    agent.start()


@contextmanager
def pods(sandbox: Sandbox, *numbers: int) -> Iterator[list[Pod]]:
    there = [Pod(sandbox.cgroup, number, lambda: None) for number in numbers]
    try:
        for pod in there:
            pod.result()
        yield there
    finally:
        for pod in there:
            pod.remove()


def asked(sandbox: Sandbox, pod: Pod) -> bool:
    """Return whether the Service is served to a process in the pod's cgroup, and in the sandbox's network."""

    def ask() -> bool:
        (pod.cgroup / "cgroup.procs").write_text("0")
        with suppress(OSError):
            return ask_tcp(SERVICE4, 80)[0] == BACKENDS4[0]
        return False

    return sandbox.run(ask)


def slices(status: dict[str, Any]) -> set[str]:
    return {one["cgroup"] for one in status["left_out"]}


def of(*found: Pod) -> set[str]:
    return {f"/{pod.slice.name}" for pod in found}


def test_a_running_pod_is_left_out_seen_so_and_served_again_when_it_is_no_longer_named(
    agent: AgentUnderTest, sandbox: Sandbox
) -> None:
    with pods(sandbox, NUMBER, OTHER) as (left, other):
        says(agent)
        assert agent.until(lambda status: status["synced"])["left_out"] == []
        assert asked(sandbox, left)
        says(agent, left.slice.name)
        (row,) = agent.until(lambda status: status["left_out"])["left_out"]
        assert (row["cgroup"], row["why"]) == (f"/{left.slice.name}", f"bypass_cgroups {left.slice.name}")
        two = ("--hook", "connect", "--address", SERVICE4, "--count", "2")
        with watching(agent, "--json", *two) as monitor:
            begun(agent)
            assert not asked(sandbox, left)
            assert asked(sandbox, other), "the control"
            told = [json.loads(line) for line in monitor.ended()[1]]
        assert [(row["verdict"], row["reason"]) for row in told] == [("passed", "left out"), ("translated", "random")]
        shown = agent.run("status", "--verbose").stdout
        assert "Left out by the hooks:" in shown
        assert f"/{left.slice.name}  bypass_cgroups {left.slice.name}  since 2" in shown
        explained = json.loads(agent.run("explain", f"{SERVICE4}:80", "--json", "--from", left.uid).stdout)
        assert explained["why"] == (
            f"its cgroup /{left.slice.name} is left out: its sockets are left to the packet path"
        )
        assert "left_out" in {step["table"] for step in explained["steps"]}
        itself = json.loads(agent.run("explain", f"{SERVICE4}:80", "--json", "--from", other.uid).stdout)
        assert itself["verdict"] == "translated"
        agent.kill()
        assert not asked(sandbox, left)
        assert f"/{left.slice.name}" in agent.run("status", "--verbose").stdout, "without an agent"
        says(agent)
        agent.until(lambda status: status["synced"] and not status["left_out"])
        assert asked(sandbox, left)


def test_a_pod_that_comes_later_is_left_out_and_one_that_goes_is_forgotten(
    agent: AgentUnderTest, sandbox: Sandbox
) -> None:
    says(agent, PATTERN)
    with pods(sandbox, NUMBER) as (first,):
        agent.until(lambda status: slices(status) == of(first))
        with pods(sandbox, LATER) as (later,):
            agent.until(lambda status: slices(status) == of(first, later))
            assert not asked(sandbox, later)
        agent.until(lambda status: slices(status) == of(first))
        assert "left out: /" in agent.log
        assert f"no longer left out: /{later.slice.name}" in agent.log


def test_a_killed_agent_leaves_it_so_and_the_next_one_knows_since_when(agent: AgentUnderTest, sandbox: Sandbox) -> None:
    with pods(sandbox, NUMBER) as (left,):
        says(agent, PATTERN)
        before = agent.until(lambda status: status["left_out"])["left_out"]
        agent.kill(signal.SIGKILL)
        assert not asked(sandbox, left)
        agent.start()
        assert agent.until(lambda status: status["left_out"])["left_out"] == before


def test_what_somebody_else_took_out_is_put_back_and_told(agent: AgentUnderTest, sandbox: Sandbox) -> None:
    with pods(sandbox, NUMBER) as (left,):
        says(agent, PATTERN)
        agent.until(lambda status: status["left_out"])
        repairs = agent.until(lambda status: status["synced"])["table_repairs"]
        with closing(HashTable(Pins(agent.bpffs).maps, "left_out", 8, 8)) as table:
            table.delete([layout.CGROUP_ID.pack(left.slice.stat().st_ino)])
        agent.until(lambda status: status["table_repairs"] > repairs)
        assert not asked(sandbox, left)
        assert "the table of what is left out was changed from outside: it is put back" in agent.log


def test_a_pattern_that_names_nothing_is_a_problem_until_it_does(agent: AgentUnderTest, sandbox: Sandbox) -> None:
    says(agent, PATTERN)
    text = f"no cgroup below {sandbox.cgroup} is named {PATTERN}, as `bypass_cgroups` says"
    agent.until(lambda status: [problem["message"] for problem in status["problems"]] == [text])
    with pods(sandbox, NUMBER):
        agent.until(lambda status: not status["problems"])


def test_the_agent_itself_is_not_left_out_and_a_pattern_that_would_is_a_problem(
    agent: AgentUnderTest, sandbox: Sandbox
) -> None:
    """It would see its own connects pass the hooks, and take them for broken. In a pod it has a cgroup namespace."""
    join = f'echo 0 >{sandbox.cgroup / POD}/cgroup.procs && exec unshare --cgroup "$@"'
    agent.around = ["sh", "-c", join, "sh"]
    with pods(sandbox, NUMBER) as (left,):
        says(agent, POD, PATTERN)
        text = f"/{POD} is not left out, for the agent itself is in it: {POD}"
        status = agent.until(lambda status: [problem["message"] for problem in status["problems"]] == [text])
        assert slices(status) == of(left)
        agent.until(lambda status: status["connect"]["translated"])
