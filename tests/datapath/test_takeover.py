"""Tables of another schema or size: taken over without a failed connect, and older sockets see what they asked for."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rig.agents import AgentUnderTest, endpoint_slice, node, service
from rig.sandbox import BACKENDS4, NODE4, Job, Sandbox, udp_client
from socklb.datapath import features, libbpf
from socklb.datapath.links import HOOKS
from socklb.datapath.node_datapath import NodeDatapath
from socklb.datapath.older import READERS
from socklb.datapath.pins import Pins
from tests.datapath.load import load
from tests.datapath.services import SERVICE4, web
from tests.datapath.test_damage import is_served, within
from tests.datapath.test_life import own_programs

SERVED_BY_NAME = f"{SERVICE4} 80"


class LiveSockets:
    """A TCP connection, a connected and an unconnected UDP socket with an answer that nobody has read yet."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._ready, ready = os.pipe()
        go, self._go = os.pipe()
        self._job: Job = sandbox.start(lambda: _hold(ready, go))
        assert os.read(self._ready, 1) == b"."

    def what_they_see(self) -> Any:
        """Have them look, and close."""
        os.write(self._go, b".")
        return self._job.result()


def _hold(ready: int, go: int) -> list[str]:
    with (
        socket.create_connection((SERVICE4, 80), 5) as tcp,
        udp_client(SERVICE4) as connected,
        udp_client(SERVICE4) as unconnected,
    ):
        connected.connect((SERVICE4, 80))
        unconnected.sendto(b"?", (SERVICE4, 80))
        os.write(ready, b".")
        os.read(go, 1)
        seen = [tcp.getpeername(), connected.getpeername(), unconnected.recvfrom(100)[1]]
        return [f"{address} {port}" for address, port in seen]


@pytest.fixture
def before(sandbox: Sandbox, bpffs: Path, build: Callable[..., Path]) -> Iterator[LiveSockets]:
    """What a version with fewer slots for sockets left: tables, hooks, and sockets that it translated."""
    with NodeDatapath(bpffs, sandbox.cgroup, build("-DSOCKET_SLOTS=1024")) as older:
        older.tables.apply(web())
        older.attach()
    yield LiveSockets(sandbox)
    older.pins.remove()


def serve_web(agent: AgentUnderTest) -> None:
    agent.write("web.yaml", node("w1", NODE4), service("web", SERVICE4), endpoint_slice("web-4", *BACKENDS4[:2]))


@pytest.mark.parametrize("schema", ["of another size", "of another schema"])
def test_sockets_of_before_see_the_service_until_they_close(
    sandbox: Sandbox, agent: AgentUnderTest, before: LiveSockets, schema: str
) -> None:
    pins = Pins(agent.bpffs)
    if schema == "of another schema":
        pins.maps.parent.rename(pins.root / "v1")
    serve_web(agent)
    agent.start()
    if schema == "of another size":
        assert "table sockets has max_entries 1024 and this version 262144" in agent.log
    assert agent.log.count("sockets of an older version keep its hooks until they are closed") == 1
    assert f"eBPF object: {next(iter(features.OBJECTS))}" in agent.log
    best = next(iter(features.OBJECTS))
    assert f"eBPF object: {best}" in agent.run("status", "--verbose").stdout
    told = json.loads(agent.run("status", "--json").stdout)["agent"]
    assert (told["object"], told["features"]) == (best, {feature.name: True for feature in features.FEATURES})
    assert is_served(sandbox)
    assert len(own_programs(sandbox.cgroup)) == len(HOOKS) + len(READERS)
    assert before.what_they_see() == [SERVED_BY_NAME] * 3
    within(15, lambda: "the last socket of an older version is closed: its hooks are removed" in agent.log)
    assert len(own_programs(sandbox.cgroup)) == len(HOOKS)
    assert [path.name for path in pins.root.iterdir()] == [pins.maps.parent.name]


def test_without_an_agent_another_version_that_serves_is_named(agent: AgentUnderTest, before: LiveSockets) -> None:
    pins = Pins(agent.bpffs)
    earlier = pins.root / "v1"
    pins.maps.parent.rename(earlier)
    assert f"another version serves, whose tables this one cannot read: {earlier}" in agent.run("status").stdout
    serve_web(agent)
    agent.start()
    agent.stop()
    assert earlier.is_dir()
    assert "another version" not in agent.run("status").stdout, "it is there for its open sockets alone"
    before.what_they_see()


def test_tables_of_another_size_are_taken_over_under_load(
    sandbox: Sandbox, bpffs: Path, objects: Path, before: LiveSockets
) -> None:
    with load(sandbox, SERVICE4, clients=4) as running, NodeDatapath(bpffs, sandbox.cgroup, objects) as new:
        new.tables.apply(web())
        new.attach()
    assert running.result.failed == []
    before.what_they_see()
    assert not new.pins.forget_older()
    assert len(own_programs(sandbox.cgroup)) == len(HOOKS)


def test_older_hooks_serve_until_everything_could_be_read(
    sandbox: Sandbox, agent: AgentUnderTest, before: LiveSockets
) -> None:
    serve_web(agent)
    agent.write("broken.yaml", "kind: [")
    (agent.manifests / "web.yaml").rename(agent.home / "web.yaml")
    agent.start()
    assert is_served(sandbox)
    (agent.home / "web.yaml").rename(agent.manifests / "web.yaml")
    (agent.manifests / "broken.yaml").unlink()
    agent.until(lambda status: status["synced"])
    assert is_served(sandbox)
    assert before.what_they_see() == [SERVED_BY_NAME] * 3


def test_cleanup_takes_older_hooks_too(sandbox: Sandbox, agent: AgentUnderTest, before: LiveSockets) -> None:
    serve_web(agent)
    agent.start()
    agent.stop()
    assert agent.run("cleanup").returncode == 0
    assert own_programs(sandbox.cgroup) == []
    before.what_they_see()


@pytest.mark.parametrize(
    ("lacking", "name"),
    [
        ((), "socklb.bpf.o"),
        ((features.NETNS_COOKIE,), "socklb.bpf.o"),
        ((features.SET_ERRNO,), "socklb-5.12.bpf.o"),
        ((features.SET_ERRNO, features.COMPARE_AND_SWAP, features.NETNS_COOKIE), "socklb-5.10.bpf.o"),
    ],
    ids=["nothing", "the netns cookie", "errno", "compare-and-swap"],
)
def test_an_older_object_is_for_what_the_kernel_lacks(
    sandbox: Sandbox,
    bpffs: Path,
    objects: Path,
    monkeypatch: pytest.MonkeyPatch,
    lacking: tuple[features.Feature, ...],
    name: str,
) -> None:
    monkeypatch.setattr(features, "missing", lambda: lacking)
    with NodeDatapath(bpffs, sandbox.cgroup, objects) as datapath:
        assert (datapath.object_file, datapath.missing) == (name, lacking)
        datapath.attach()
        datapath.tables.apply(web())
        assert is_served(sandbox)
    datapath.pins.remove()


def test_any_other_refusal_is_raised_as_itself(
    sandbox: Sandbox, bpffs: Path, objects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_object: libbpf.Object) -> None:
        raise libbpf.BpfError("load", 11)

    monkeypatch.setattr(libbpf.Object, "load", refuse)
    with pytest.raises(libbpf.BpfError, match="Resource temporarily unavailable"):
        NodeDatapath(bpffs, sandbox.cgroup, objects)
    Pins(bpffs).remove()


def test_this_kernels_features_are_found_and_one_that_is_not_there_is_not() -> None:
    assert features.missing() == ()
    unknown_helper = features.instruction(0x85, 0, 0, 9999) + features.EXIT
    unknown_operation = features.instruction(0xDB, 1 << 4 | 10, -8, 0x77) + features.EXIT
    assert not features.loads("an unknown helper", unknown_helper)
    assert not features.loads("an unknown operation", unknown_operation)
