"""Lab 06: under load nothing fails, and what would fail is found."""

from tests.labs.command import lab, run_whole
from tests.labs.impostor import impostor
from tests.labs.state import state
from tests.support.cluster import Cluster
from tests.support.waiting import until


def test_every_claim_holds_and_afterwards_all_is_as_before(cluster: Cluster) -> None:
    before = state(cluster)
    run_whole("06")
    until(lambda: state(cluster) == before)


def test_an_agent_that_takes_the_hooks_along_is_found_and_reset_brings_them_back(cluster: Cluster) -> None:
    before = state(cluster)
    with impostor(cluster.node("w1"), "socklb", '[ "$*" != status ] || $REAL cleanup; exec $REAL "$@"'):
        done = lab("run", "06", "--step", "4")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "✗ no connection failed" in done.stdout
    assert lab("reset", "06").returncode == 0
    until(lambda: state(cluster) == before)
