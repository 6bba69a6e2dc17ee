"""inventory/connectors/cgroup.py: ending processes by their cgroup, with and without cgroup.kill (Linux 5.14)."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from inventory.connectors import cgroup


@pytest.fixture
def group() -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("making cgroups needs root")
    path = cgroup.mount_point() / f"socklb-test-cgroup-{os.getpid()}"
    (path / "pods" / "one").mkdir(parents=True)
    yield path
    cgroup.remove(path)


def start_in(group: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([*cgroup.join_argv(group), "sh", "-c", "sleep 1000 & echo; wait"], stdout=subprocess.PIPE)


def started(*running: "subprocess.Popen[bytes]") -> None:
    for process in running:
        assert process.stdout
        process.stdout.readline()
        process.stdout.close()


def test_a_cgroup_is_removed_with_its_processes_and_those_below(group: Path) -> None:
    running = [start_in(group), start_in(group / "pods" / "one")]
    started(*running)
    cgroup.remove(group)
    assert [process.wait(5) for process in running] == [-9, -9]
    assert not group.exists()


def test_processes_are_ended_one_by_one_on_kernels_without_cgroup_kill(group: Path) -> None:
    running = [start_in(group), start_in(group / "pods" / "one")]
    started(*running)
    assert len(cgroup.processes(group)) >= 4  # each shell and its sleep
    cgroup.kill_one_by_one(group)
    assert [process.wait(5) for process in running] == [-9, -9]


def test_removing_a_cgroup_that_is_not_there_is_fine(group: Path) -> None:
    cgroup.remove(group / "absent")
