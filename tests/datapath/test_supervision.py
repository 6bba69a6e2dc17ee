"""What fails within the agent is told and made good, and never ends it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from pathlib import Path
from typing import Any

import pytest

from rig.agents import endpoint_slice, node, service
from rig.sandbox import BACKENDS4, NODE4, Sandbox, ask_tcp
from socklb.agent import supervise
from socklb.agent.agent import Agent
from socklb.api.manifests import ManifestFolder
from socklb.config import Config
from socklb.datapath import dump, layout, libbpf
from socklb.datapath.maps import HashTable
from socklb.datapath.node_datapath import NodeDatapath
from socklb.desired import plan
from socklb.health import proxy_health
from socklb.model import pack_address
from tests.datapath.services import SERVICE4, frontend
from tests.support.waiting import until_async
from tests.unit.agent.following import story
from tests.unit.agent.shapes import manifest


@pytest.fixture
def agent(datapath: NodeDatapath, tmp_path: Path) -> Agent:
    """An agent within this process."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    write(folder, BACKENDS4[0])
    config = Config(
        node="w1",
        manifests=str(folder),
        packet_path=False,
        socket=str(tmp_path / "agent.sock"),
        health_address="",
        metrics_address="",
    )
    return Agent(config, ManifestFolder(folder), datapath)


def write(folder: Path, backend: str) -> None:
    documents = node("w1", NODE4), service("web", SERVICE4), endpoint_slice("web-4", backend)
    (folder / "web.yaml").write_text(manifest(*documents))


@contextlib.asynccontextmanager
async def running(agent: Agent) -> Any:
    with agent.health.answering():
        async with agent.supervisor.at_work():
            await until_async(lambda: agent.progress.synced)
            yield


def test_a_change_that_fails_half_way_is_made_good(
    agent: Agent, datapath: NodeDatapath, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = datapath.tables.apply

    def fail(*_: object) -> None:
        raise OSError("no memory")

    @story
    async def run() -> None:
        async with running(agent):
            monkeypatch.setattr(datapath.tables, "apply", fail)
            write(tmp_path / "manifests", BACKENDS4[1])
            await until_async(lambda: agent._unapplied)
            await until_async(lambda: any("no memory" in p.message for p in agent.reporter.report().problems))
            assert proxy_health.stuck(agent.reporter.report()) == []
            monkeypatch.setattr(datapath.tables, "apply", apply)
            await until_async(lambda: not agent._unapplied and not agent.reporter.report().problems)

    run()
    assert {sandbox.run(lambda: ask_tcp(SERVICE4, 80))[0] for _ in range(5)} == {BACKENDS4[1]}


def refuse_once(monkeypatch: pytest.MonkeyPatch, function: str, table: str, *, done: bool) -> None:
    """Have the kernel refuse one call about a table for want of memory, before or after it did what it was asked."""
    real, refused = libbpf.call, False

    def call(what: str, name: str, *more: Any) -> int:
        nonlocal refused
        if refused or name != function or not what.endswith(table):
            return real(what, name, *more)
        refused = True
        if done:
            real(what, name, *more)
        raise libbpf.BpfError(what, errno.ENOMEM)

    monkeypatch.setattr(libbpf, "call", call)


@pytest.mark.parametrize(
    ("function", "table", "done"),
    [
        ("bpf_map_delete_batch", "frontends", True),
        ("bpf_map_delete_batch", "service_addrs", True),
        ("bpf_map_update_batch", "frontends", False),
        ("bpf_map_update_batch", "frontends", True),
        ("bpf_map_update_batch", "service_addrs", False),
    ],
)
def test_after_a_call_that_the_kernel_refused_the_tables_are_read_back_and_whole(
    agent: Agent,
    datapath: NodeDatapath,
    sandbox: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    table: str,
    done: bool,
) -> None:
    file = tmp_path / "manifests" / "web.yaml"

    def written() -> bool:
        return not agent.reporter.report().problems and agent.progress.revision > 1

    @story
    async def run() -> None:
        async with running(agent):
            refuse_once(monkeypatch, function, table, done=done)
            if "delete" in function:
                file.write_text(manifest(node("w1", NODE4), service("other", "10.96.0.66")))
                await until_async(lambda: (SERVICE4 in str(agent.plan.services)) is False and bool(agent._unapplied))
                write(tmp_path / "manifests", BACKENDS4[0])  # wanted again before it was known to be gone
            else:
                more = service("other", "10.96.0.66"), endpoint_slice("other-4", BACKENDS4[2])
                (tmp_path / "manifests" / "other.yaml").write_text(manifest(*more))
            await until_async(written)

    run()
    assert sandbox.run(lambda: ask_tcp(SERVICE4, 80))[0] == BACKENDS4[0]
    if "update" in function:
        assert sandbox.run(lambda: ask_tcp("10.96.0.66", 80))[0] == BACKENDS4[2]
    assert dump.fill(datapath.pins.maps, dump.read_frontends(datapath.pins.maps))[:7] == datapath.tables.fill()


def test_what_somebody_deleted_from_the_tables_is_back_once_the_source_is_begun_again(
    agent: Agent, datapath: NodeDatapath, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failed = ManifestFolder._read_changed, 0

    def fail_once(folder: ManifestFolder) -> Any:
        nonlocal failed
        failed += 1
        if failed == 1:
            raise UnicodeError("in a file's name")
        return real(folder)

    def delete(table: str, size: int, value: int, key: bytes) -> None:
        with contextlib.closing(HashTable(datapath.pins.maps, table, size, value)) as opened:
            opened.delete([key])

    @story
    async def run() -> None:
        async with running(agent):
            key = layout.pack_frontend(frontend(SERVICE4, socket.IPPROTO_TCP))
            delete("frontends", layout.FRONTEND_KEY.size, layout.ROW_INDEX.size, key)
            delete("service_addrs", 16, 1, pack_address(SERVICE4))
            revision = agent.progress.revision
            monkeypatch.setattr(ManifestFolder, "_read_changed", fail_once)
            (tmp_path / "manifests" / "other.yaml").touch()
            await until_async(lambda: agent.progress.revision > revision)

    run()
    assert failed > 1
    assert sandbox.run(lambda: ask_tcp(SERVICE4, 80))[0] == BACKENDS4[0]


def test_a_service_that_cannot_be_planned_is_named_and_stands_alone(
    agent: Agent, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = plan.plan_service

    def fail(found: Any, *more: Any) -> Any:
        if found.metadata.name == "odd":
            raise ValueError("leading zeros")
        return real(found, *more)

    monkeypatch.setattr(plan, "plan_service", fail)
    (tmp_path / "manifests" / "odd.yaml").write_text(manifest(service("odd", "10.96.0.66")))

    @story
    async def run() -> None:
        async with running(agent):
            (problem,) = agent.reporter.report().problems
            assert problem.object == "Service/default/odd"
            assert "cannot be served: ValueError: leading zeros" in problem.message

    run()
    assert sandbox.run(lambda: ask_tcp(SERVICE4, 80))[0] == BACKENDS4[0]


@pytest.mark.parametrize("name", ["source", "hooks", "answers", "health", "report", "changes"])
def test_whatever_is_gone_fails_livez_and_names_itself(agent: Agent, name: str) -> None:
    @story
    async def run() -> None:
        async with running(agent):
            assert proxy_health.livez(agent.reporter.report(), agent.progress).status == 200
            next(task for task in asyncio.all_tasks() if task.get_name() == name).cancel()
            await asyncio.sleep(0.1)
            answer = proxy_health.livez(agent.reporter.report(), agent.progress)
            assert answer.status == 503
            assert f"{name}: it is gone" in answer.body.decode()
            alarms = [alarm.message for alarm in agent.reporter.report().alarms if alarm.name == "not_running"]
            assert alarms[0].startswith(f"{name} should run in the agent and does not")

    run()


def test_a_look_that_raises_is_a_problem_and_goes_on(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise KeyError("mount")

    monkeypatch.setattr(agent.hooks, "look", fail)
    monkeypatch.setattr(supervise, "PATIENCE", 1.0)
    agent.supervisor.every("hooks", 0.2, agent.hooks.look)

    @story
    async def run() -> None:
        async with running(agent):
            await until_async(
                lambda: any("hooks: KeyError: 'mount'" in p.message for p in agent.reporter.report().problems)
            )
            assert proxy_health.stuck(agent.reporter.report()) == []
            await until_async(lambda: proxy_health.stuck(agent.reporter.report()))  # for a minute
            assert "hooks: KeyError: 'mount'" in proxy_health.stuck(agent.reporter.report())

    run()
