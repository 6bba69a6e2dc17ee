"""A node to be upgraded: its agent, with Services, and its clients; neither is started yet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.agents import endpoint_slice, node, service
from rig.sandbox import BACKENDS4, BACKENDS6, NODE4, NODE6, Sandbox, mounted_bpffs, running, wait_for_servers
from socklb.datapath.pins import Pins
from tests.chaos import server
from tests.upgrades.node import (
    NODE_PORT,
    SERVICE4,
    SERVICE6,
    Agent,
    Clients,
    served_by,
    uplink,
)

OTHERS = 300  # Services that nobody asks


@pytest.fixture(scope="session")
def place() -> Iterator[Sandbox]:
    found = Sandbox(f"socklb-test-upgrades-{os.getpid()}")
    try:
        with running(found, lambda: server.main([*BACKENDS4, *BACKENDS6])):
            wait_for_servers(found)
            yield found
    finally:
        found.remove()


@pytest.fixture(scope="session")
def outside(place: Sandbox) -> Iterator[str]:
    with uplink(place) as name:
        yield name


@pytest.fixture
def agent(place: Sandbox, tmp_path: Path) -> Iterator[Agent]:
    with mounted_bpffs(tmp_path / "bpffs") as bpffs:
        found = Agent(tmp_path, place.cgroup, bpffs)
        found.around = ["nsenter", f"--net=/run/netns/{place.name}"]
        found.write("node.yaml", node("w1", NODE4, NODE6), service("web", SERVICE4, SERVICE6, node_port=NODE_PORT))
        for n in range(OTHERS):
            found.write(
                f"s{n}.yaml", service(f"s{n}", f"10.97.{n >> 8}.{n & 255}"), endpoint_slice(f"s{n}-4", *BACKENDS4)
            )
        served_by(found, 1)
        try:
            yield found
        finally:
            found.stop()
            found.source, found.keys = None, Agent.keys
            found.configure()
            assert found.run("cleanup").returncode == 0
            Pins(bpffs).remove()


@pytest.fixture
def clients(place: Sandbox, outside: str, tmp_path: Path) -> Clients:
    return Clients(place, outside, tmp_path / "stop")
