"""Lab 12: everything that it breaks is whole afterwards, and a repair that repairs nothing is found."""

from collections.abc import Iterator

import pytest

from tests.labs.command import lab, run_whole
from tests.labs.state import state
from tests.support.cluster import Cluster, deploy
from tests.support.waiting import until


@pytest.fixture
def hooks_that_leave_pods_alone(cluster: Cluster) -> Iterator[None]:
    deploy("agent", "--data", "pod_sockets=false")
    yield
    deploy("agent")


def test_every_claim_holds_and_afterwards_all_is_as_before(cluster: Cluster) -> None:
    before = state(cluster)
    run_whole("12")
    until(lambda: state(cluster) == before)


@pytest.mark.parametrize("step", ["5", "7"])
def test_what_one_step_leaves_is_gone_after_a_reset(cluster: Cluster, step: str) -> None:
    before = state(cluster)
    assert lab("run", "12", "--step", step).returncode == 0
    assert lab("reset", "12").returncode == 0
    until(lambda: state(cluster) == before)


def test_hooks_that_are_attached_and_do_nothing_are_no_repair(
    cluster: Cluster, hooks_that_leave_pods_alone: None
) -> None:
    done = lab("run", "12", "--step", "1")
    lab("reset", "12")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "✓ the packet path served it" in done.stdout
    assert "✗ svc/web:80 (10.96.0.10:80) never appears" in done.stdout
