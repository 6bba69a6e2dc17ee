"""Lab 06: under load nothing fails, and what would fail is found."""

from tests.labs.command import kill_in_the_middle, lab, run_whole
from tests.labs.impostor import impostor
from tests.labs.state import state
from tests.support.cluster import Cluster
from tests.support.waiting import until


def test_every_claim_holds_and_afterwards_all_is_as_before(cluster: Cluster) -> None:
    before = state(cluster)
    run_whole("06")
    until(lambda: state(cluster) == before)


def test_after_a_kill_in_the_middle_another_lab_finds_all_whole(cluster: Cluster) -> None:
    node = cluster.node("w2")
    serves = ("sh", "-c", "kill -0 $(cat /run/socklb/web-2.pid)")
    kill_in_the_middle("run", "06", begun=lambda: node.run(*serves).returncode != 0, limit=90)
    assert node.run(*serves).returncode != 0, "its server has ended"
    done = lab("run", "01", "--step", "7")
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_agent_that_takes_the_hooks_along_is_found_and_reset_brings_them_back(cluster: Cluster) -> None:
    before = state(cluster)
    with impostor(cluster.node("w1"), "socklb", '[ "$*" != status ] || $REAL cleanup; exec $REAL "$@"'):
        done = lab("run", "06", "--step", "4")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "✗ no connection failed" in done.stdout
    assert lab("reset", "06").returncode == 0
    until(lambda: state(cluster) == before)
