"""A program of another owner that leaves no room: every hook is attached or none, and the agent says whose it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rig.agents import AgentUnderTest, endpoint_slice, node, service
from rig.sandbox import BACKENDS4, NODE4, Sandbox
from socklb.datapath import hooks, libbpf
from socklb.datapath.foreign import OccupiedError
from socklb.datapath.links import HOOKS
from socklb.datapath.node_datapath import NodeDatapath
from tests.datapath.meddling import ALLOW_MULTI, ALLOW_OVERRIDE, others_program
from tests.datapath.services import SERVICE4
from tests.datapath.test_damage import is_served, told, within
from tests.datapath.test_health import scrape


def attached_here(cgroup: Path) -> list[str]:
    descriptor = os.open(cgroup, os.O_RDONLY)
    try:
        return [name for name, kind in HOOKS.items() if libbpf.attached_programs(descriptor, kind, effective=False)]
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("flags", [0, ALLOW_OVERRIDE], ids=["exclusive", "to be overridden"])
@pytest.mark.parametrize("above", [False, True], ids=["on the node's cgroup", "above it"])
def test_beside_a_program_that_leaves_no_room_nothing_is_attached_until_it_is_gone(
    sandbox: Sandbox, agent: AgentUnderTest, tmp_path: Path, flags: int, above: bool
) -> None:
    agent.write("web.yaml", node("w1", NODE4), service("web", SERVICE4), endpoint_slice("web-4", *BACKENDS4[:2]))
    cgroup = sandbox.base if above else sandbox.cgroup
    with others_program(cgroup, tmp_path, "connect6", flags) as number:
        agent.start()
        status = agent.until(lambda status: told(status, "no hook was attached"))
        (text,) = told(status, "no hook was attached")
        assert f"connect6 of {cgroup} has program {number} (theirs6, loaded by uid 0, held by process" in text
        assert f"next: stop what attached it, or bpftool cgroup detach {cgroup} connect6 id {number}" in text
        assert attached_here(sandbox.cgroup) == ([] if above else ["connect6"])
        assert scrape(agent)["socklb_alarm", "hooks_refused"] == 1
        assert "0 of 11 attached and effective" in agent.run("status").stdout
    within(20, lambda: is_served(sandbox))
    agent.until(lambda status: status["problems"] == [])
    assert agent.log.count("the hooks are not attached: ") == 1
    assert agent.log.count("the hooks are attached now") == 1
    assert scrape(agent)["socklb_alarm", "hooks_refused"] == 0


def test_a_program_that_shares_its_hook_is_no_obstacle(sandbox: Sandbox, agent: AgentUnderTest, tmp_path: Path) -> None:
    agent.write("web.yaml", node("w1", NODE4), service("web", SERVICE4), endpoint_slice("web-4", *BACKENDS4[:2]))
    with (
        others_program(sandbox.cgroup, tmp_path, "connect6", ALLOW_MULTI),
        others_program(sandbox.base, tmp_path, "connect4", ALLOW_MULTI),
    ):
        agent.start()
        assert is_served(sandbox)
        assert agent.until(lambda _: True)["problems"] == []


def test_a_pinned_program_is_named_with_its_pin(
    sandbox: Sandbox, bpffs: Path, datapath: NodeDatapath, tmp_path: Path
) -> None:
    hooks.detach(datapath.pins.links)
    with others_program(sandbox.cgroup, tmp_path, "connect4", 0) as number:
        descriptor = libbpf.call("open", "bpf_prog_get_fd_by_id", number)
        libbpf.pin(descriptor, bpffs / "cil_sock4")
        os.close(descriptor)
        with pytest.raises(OccupiedError, match=f"pinned at {bpffs}/cil_sock4"):
            datapath.attach()
        (bpffs / "cil_sock4").unlink()


def test_a_hook_that_the_kernel_refuses_half_way_leaves_none_attached(
    sandbox: Sandbox, bpffs: Path, objects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody comes between the look and the attaching."""
    attach = libbpf.Program.attach_cgroup

    def refuse(program: libbpf.Program, cgroup_fd: int, name: str) -> int:
        if name == "sendmsg4":
            raise libbpf.BpfError("attach sendmsg4", 1)
        return attach(program, cgroup_fd, name)

    monkeypatch.setattr(libbpf.Program, "attach_cgroup", refuse)
    with NodeDatapath(bpffs, sandbox.cgroup, objects) as datapath:
        with pytest.raises(libbpf.BpfError, match="attach sendmsg4"):
            datapath.attach()
        assert attached_here(sandbox.cgroup) == []
        assert list(datapath.pins.links.iterdir()) == []
        monkeypatch.undo()
        datapath.attach()
        assert len(attached_here(sandbox.cgroup)) == len(HOOKS)
    datapath.pins.remove()
