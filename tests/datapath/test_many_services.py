"""What people ask of a node with 100,000 Services is answered in seconds, and `status` stays as short as with ten."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rig.agents import AgentUnderTest
from rig.sandbox import BACKENDS4
from socklb.datapath.node_datapath import NodeDatapath
from socklb.datapath.writer import MapWriter
from socklb.desired import catalog
from socklb.model import Difference, frontend_text
from tests.datapath.services import frontend, serving

MANY = 100_000
FRONTENDS = [frontend(f"10.{100 + (n >> 16)}.{n >> 8 & 255}.{n & 255}") for n in range(MANY)]


@pytest.fixture
def many(agent: AgentUnderTest, objects: Path) -> Iterator[AgentUnderTest]:
    """A node that such an agent has left."""
    with NodeDatapath(agent.bpffs, agent.cgroup, objects) as node:
        put = {f: serving(BACKENDS4[n % 8], BACKENDS4[(n + 1) % 8]) for n, f in enumerate(FRONTENDS)}
        node.tables.apply(Difference(put=put))
        names = [catalog.Entry(frontend_text(f), f"default/s{n}", "ClusterIP") for n, f in enumerate(FRONTENDS)]
        catalog.write(agent.home / catalog.FILE, names)
        with closing(MapWriter(node.pins.maps)) as again:
            assert len(again.frontends) == MANY
    yield agent
    node.pins.remove()


def asked(agent: AgentUnderTest, *verb: str) -> tuple[str, float]:
    """Return what is said, and the seconds of CPU that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    shown = agent.run(*verb)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert shown.stdout, shown.stderr
    return shown.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_status_is_short_and_the_list_complete(many: AgentUnderTest) -> None:
    text, seconds = asked(many, "status")
    assert f"{MANY}" in text
    assert len(text) < 4_000
    assert seconds < 8
    text, seconds = asked(many, "status", "--json")
    assert json.loads(text)["services"]["frontends"] == MANY
    assert len(text) < 8_000
    assert seconds < 8
    text, seconds = asked(many, "service", "list", "--json")
    assert len(json.loads(text)) == MANY
    assert seconds < 12
    text, seconds = asked(many, "service", "list", "s77777")
    assert "default/s77777" in text
    assert len(text.splitlines()) < 5
    assert seconds < 12
