"""The time of day is stepped under a running agent, as NTP does after a boot without a battery: what it judges by
how much time has passed goes by a clock that nobody steps (CLOCK_MONOTONIC, clock_gettime(2)).
"""

from __future__ import annotations

import re
import subprocess
import time

import pytest

from rig.agents import AgentUnderTest, endpoint_slice, service
from rig.clock import SteppedClock
from rig.sandbox import BACKENDS4
from tests.datapath.services import SERVICE4

HOUR = 3600


@pytest.fixture
def clock(agent: AgentUnderTest) -> SteppedClock:
    clock = SteppedClock(agent.home)
    agent.around = clock.words
    return clock


def test_the_agents_own_connect_is_tried_on_after_its_clock_was_set_back(
    agent: AgentUnderTest, clock: SteppedClock
) -> None:
    agent.start()
    before = agent.until(lambda status: status["connect"]["translated"])["connect"]["at"]
    clock.step(-HOUR)
    after = agent.until(lambda status: status["connect"]["at"] != before)
    assert after["connect"]["translated"]
    assert after["connect"]["at"] < before - HOUR / 2, "the agent's clock was set back"


@pytest.mark.parametrize("step", [-HOUR, HOUR], ids=["back", "forward"])
def test_an_outage_lasts_as_long_as_it_does_whatever_the_clock_says(
    agent: AgentUnderTest, clock: SteppedClock, step: int
) -> None:
    agent.write("web.yaml", service("web", SERVICE4), endpoint_slice("web-4", *BACKENDS4))
    agent.start()
    began = time.monotonic()
    agent.manifests.rename(agent.home / "elsewhere")
    agent.until(lambda status: status["source"]["lost_since"] is not None)
    clock.step(step)
    status = agent.until(lambda status: abs(status["made"] - time.time() - step) < HOUR / 2)
    lasted = time.monotonic() - began
    assert 0 <= status["made"] - status["source"]["lost_since"] <= lasted
    told = subprocess.run([*clock.words, *agent.command("status")], capture_output=True, text=True, check=False).stdout
    assert re.search(r"out of reach for \d{1,2} s, since", told), told
