"""Restart, upgrade, a second agent, cleanup: nothing a running application could notice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rig.sandbox import BACKENDS4, Sandbox, ask_tcp
from socklb.datapath import hooks, layout, libbpf
from socklb.datapath.links import opened
from socklb.datapath.node_datapath import NodeDatapath
from socklb.datapath.pins import Pins
from socklb.errors import SocklbError
from socklb.model import Difference
from tests.datapath.load import Load, load
from tests.datapath.loaded import detach
from tests.datapath.meddling import ALLOW_MULTI, ALLOW_OVERRIDE, others_program
from tests.datapath.services import SERVICE4, frontend, serving, web

ROOT = Path(__file__).parents[2]


def programs(node: NodeDatapath) -> dict[str, int | None]:
    return {hook.name: hook.program_id for hook in hooks.inspect(node.cgroup, node.pins.links)}


def own_programs(cgroup: Path) -> list[int]:
    descriptor = os.open(cgroup, os.O_RDONLY)
    try:
        return [
            program
            for attach_type in hooks.HOOKS.values()
            for program in libbpf.attached_programs(descriptor, attach_type, effective=False)
        ]
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("flags", [0, ALLOW_OVERRIDE, ALLOW_MULTI], ids=["exclusive", "to be overridden", "shared"])
@pytest.mark.parametrize("first", [True, False], ids=["before ours", "after ours"])
def test_no_program_below_takes_the_place_of_a_hook(
    sandbox: Sandbox, datapath: NodeDatapath, tmp_path: Path, flags: int, first: bool
) -> None:
    """So the node's own cgroup says what holds for all below it."""
    pod, links = sandbox.cgroup / "another-pod", datapath.pins.links
    pod.mkdir()
    try:
        if first:
            detach(datapath)
        with others_program(pod, tmp_path, "connect4", flags) as theirs:
            datapath.attach()
            found = {hook.name: hook for hook in hooks.inspect(datapath.cgroup, links)}
            with opened(pod) as descriptor:
                below = libbpf.attached_programs(descriptor, hooks.HOOKS["connect4"], effective=True)
    finally:
        pod.rmdir()
    assert list(found) == list(hooks.HOOKS)
    assert all(hook.attached and hook.effective for hook in found.values())
    assert set(below) == {theirs, found["connect4"].program_id}


def test_the_cgroups_below_cost_a_report_nothing(
    sandbox: Sandbox, datapath: NodeDatapath, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node has hundreds: to ask all of them took 120 ms of the agent's loop at 300."""
    asked: list[int] = []
    real = libbpf.attached_programs

    def count(*given: int, effective: bool) -> list[int]:
        asked.append(given[1])
        return real(*given, effective=effective)

    monkeypatch.setattr(libbpf, "attached_programs", count)
    pods = [sandbox.cgroup / f"pod{n}" for n in range(20)]
    for pod in pods:
        pod.mkdir()
    hooks.inspect(datapath.cgroup, datapath.pins.links)
    for pod in pods:
        pod.rmdir()
    assert sorted(asked) == sorted(hooks.HOOKS.values())


def test_an_agent_that_is_gone_leaves_the_service_served(sandbox: Sandbox, bpffs: Path, objects: Path) -> None:
    with NodeDatapath(bpffs, sandbox.cgroup, objects) as node:
        node.attach()
        node.tables.apply(web())
    try:
        assert sandbox.run(lambda: ask_tcp(SERVICE4, 80))[0] in BACKENDS4[:2]
    finally:
        node.pins.remove()


def test_an_upgrade_swaps_every_program_and_no_connect_fails(
    sandbox: Sandbox, bpffs: Path, objects: Path, build: Callable[..., Path]
) -> None:
    newer = build("-DLOOKUP_TRIES=4")
    with NodeDatapath(bpffs, sandbox.cgroup, objects) as node:
        node.attach()
        node.tables.apply(web())
        before = programs(node)
    try:
        with load(sandbox, SERVICE4, clients=4) as running:
            for n in range(20):
                with NodeDatapath(bpffs, sandbox.cgroup, objects if n % 2 else newer) as node:
                    node.attach()
        result: Load = running.result
        assert result.connects > 100
        assert result.failed == []
        assert result.backends <= set(BACKENDS4[:2])
        after = programs(node)
        assert all(after[name] not in (None, before[name]) for name in hooks.HOOKS)
        assert len(own_programs(sandbox.cgroup)) == len(hooks.HOOKS)
    finally:
        node.pins.remove()


def test_a_second_agent_says_so(datapath: NodeDatapath, objects: Path) -> None:
    with pytest.raises(SocklbError, match="another agent serves this node"):
        NodeDatapath(datapath.pins.root.parent, datapath.cgroup, objects)


def test_a_link_of_a_cgroup_that_was_made_anew_is_replaced(sandbox: Sandbox, bpffs: Path, objects: Path) -> None:
    node_cgroup = sandbox.base / "again"
    for _ in range(2):
        node_cgroup.mkdir()
        with NodeDatapath(bpffs, node_cgroup, objects) as node:
            node.attach()
            assert all(hook.effective for hook in hooks.inspect(node_cgroup, node.pins.links))
        node_cgroup.rmdir()
    node.pins.remove()


def test_cleanup_detaches_and_leaves_no_pin(sandbox: Sandbox, bpffs: Path, objects: Path) -> None:
    with NodeDatapath(bpffs, sandbox.cgroup, objects) as node:
        node.attach()
    assert own_programs(sandbox.cgroup)
    Pins(bpffs).remove()
    assert not own_programs(sandbox.cgroup)
    assert not Pins(bpffs).root.exists()


def test_programs_of_others_are_left_alone(sandbox: Sandbox, bpffs: Path, objects: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    links = bpffs / "theirs"
    links.mkdir()
    shutil.copy(objects / "socklb.bpf.o", theirs / "other.bpf.o")
    with libbpf.Object.open(theirs / "other.bpf.o") as other:
        other.load()
        hooks.attach(other, sandbox.cgroup, links)
    with NodeDatapath(bpffs, sandbox.cgroup, objects) as node:
        node.attach()
        node.tables.apply(web())
        assert sandbox.run(lambda: ask_tcp(SERVICE4, 80))[0] in BACKENDS4[:2]
    node.pins.remove()
    assert len(own_programs(sandbox.cgroup)) == len(hooks.HOOKS)
    hooks.detach(links)
    shutil.rmtree(links)


def test_endpoints_come_and_go_under_load_without_a_wrong_or_refused_connect(
    sandbox: Sandbox, datapath: NodeDatapath
) -> None:
    """Sets change thousands of times; each connect sees one whole set, and never one that was withdrawn before it."""
    sets = [BACKENDS4[:2], BACKENDS4[2:5], BACKENDS4[5:8]]
    datapath.tables.apply(web(sets[0]))
    with load(sandbox, SERVICE4, clients=4) as running:
        for n in range(3000):
            datapath.tables.apply(Difference(put=web(sets[n % 3]).put))
        last = sets[2999 % 3]
        marker = running.mark()
    assert running.result.failed == []
    assert running.result.connects > 100
    assert running.result.backends_after(marker) <= set(last)


@pytest.mark.parametrize("lost", [*[(name,) for name in layout.MAPS], layout.MAPS, layout.MAPS[::2]], ids=", ".join)
def test_a_table_that_lost_its_pin_while_no_agent_ran_is_the_same_table(
    sandbox: Sandbox, bpffs: Path, objects: Path, lost: tuple[str, ...]
) -> None:
    """A new one beside the others of before: hooks that run would answer with another Service's backends."""
    with NodeDatapath(bpffs, sandbox.cgroup, objects) as node:
        node.attach()
        node.tables.apply(web())
    try:
        for name in lost:
            (node.pins.maps / name).unlink(missing_ok=True)
        with NodeDatapath(bpffs, sandbox.cgroup, objects) as node:
            other = {frontend(f"10.96.7.{number}"): serving(*BACKENDS4[4:]) for number in range(50)}
            node.tables.apply(Difference(put=other))
            assert {sandbox.run(lambda: ask_tcp(SERVICE4, 80))[0] for _ in range(8)} <= {*BACKENDS4[:2]}
            node.attach()
            assert {sandbox.run(lambda: ask_tcp(SERVICE4, 80))[0] for _ in range(8)} <= {*BACKENDS4[:2]}
    finally:
        node.pins.remove()


@pytest.mark.parametrize("lost", layout.TOGETHER)
def test_tables_that_nobody_holds_any_more_are_not_completed_by_new_ones(
    sandbox: Sandbox, bpffs: Path, objects: Path, lost: str, caplog: pytest.LogCaptureFixture
) -> None:
    with NodeDatapath(bpffs, sandbox.cgroup, objects) as node:
        node.attach()
        node.tables.apply(web())
    try:
        (node.pins.maps / lost).unlink()
        shutil.rmtree(node.pins.links)
        with NodeDatapath(bpffs, sandbox.cgroup, objects) as node:
            assert not node.tables.frontends
            node.tables.apply(web())
            node.attach()
            assert {sandbox.run(lambda: ask_tcp(SERVICE4, 80))[0] for _ in range(8)} <= {*BACKENDS4[:2]}
    finally:
        node.pins.remove()
    assert f"new tables: table {lost} is gone" in caplog.text


ALONE = """
import sys
from pathlib import Path
from socklb.datapath.node_datapath import NodeDatapath
from tests.datapath.services import web

bpffs, cgroup, objects = map(Path, sys.argv[1:])
with NodeDatapath(bpffs, cgroup, objects) as node:
    print(len(node.tables.frontends))
    node.tables.apply(web())
    node.attach()
"""


def test_an_agent_that_may_not_ask_for_tables_makes_all_anew(sandbox: Sandbox, bpffs: Path, objects: Path) -> None:
    """As in a DaemonSet, which has no CAP_SYS_ADMIN."""
    with NodeDatapath(bpffs, sandbox.cgroup, objects) as node:
        node.attach()
        node.tables.apply(web())
    try:
        (node.pins.maps / "frontends").unlink()
        command = ["setpriv", "--bounding-set=-sys_admin", sys.executable, "-c", ALONE, bpffs, sandbox.cgroup, objects]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.stdout == "0\n", done.stderr
        assert "tables have lost their pins, and programs that run cannot be asked for them" in done.stderr
        assert {sandbox.run(lambda: ask_tcp(SERVICE4, 80))[0] for _ in range(8)} <= {*BACKENDS4[:2]}
    finally:
        node.pins.remove()
