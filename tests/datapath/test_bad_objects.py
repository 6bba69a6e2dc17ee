"""Bad objects never stop the agent, and never change another Service's rows in the kernel."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rig.agents import AgentUnderTest, endpoint_slice, service
from rig.sandbox import BACKENDS4
from socklb.datapath import dump
from socklb.datapath.pins import Pins
from socklb.model import Frontend, Serving, pack_address
from tests.unit.agent.any_objects import ANYTHING, MANY

OURS = "10.96.9.9"  # an address that no drawn object has

FEW = settings(MANY, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def rows(agent: AgentUnderTest) -> dict[Frontend, Serving]:
    found = dump.read_frontends(Pins(agent.bpffs).maps)
    return {frontend: serving for frontend, serving in found.items() if frontend.address == pack_address(OURS)}


def test_bad_objects_disturb_neither_the_agent_nor_another_service(agent: AgentUnderTest) -> None:
    agent.write("aaa.yaml", service("aaa", OURS), endpoint_slice("aaa-4", *BACKENDS4[:3]))
    agent.start()
    before = rows(agent)
    assert len(before) == 2
    generation = 0

    @FEW
    @given(st.lists(ANYTHING, min_size=5, max_size=20))
    def write(documents: list[Any]) -> None:
        nonlocal generation
        generation += 1
        agent.write("bad.yaml", *map(json.dumps, documents))
        agent.write("mark.yaml", endpoint_slice("mark-4", BACKENDS4[0], generation=generation))
        agent.applied("EndpointSlice/default/mark-4", generation)
        assert rows(agent) == before

    write()
    assert generation >= 25
    assert agent.until(lambda status: status["problems"])["synced"]
