"""Lab 07 on the real cluster: all its claims hold, it leaves nothing behind, and it notices what is broken."""

from tests.labs.command import lab, run_whole
from tests.labs.state import state
from tests.labs.translating import translating
from tests.support.cluster import Cluster


def test_every_claim_holds_and_afterwards_all_is_as_before(cluster: Cluster) -> None:
    before = state(cluster)
    run_whole("07")
    assert state(cluster) == before
    assert "203.0.113" not in cluster.node("outside").output("ip", "route")


def test_a_node_that_masquerades_whom_it_need_not_is_found(cluster: Cluster) -> None:
    with translating(cluster.node("w2"), "ip saddr 172.18.0.9 tcp dport 8080"):
        done = lab("run", "07", "--step", "3")
    lab("reset", "07")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "✗ all of them see the client itself" in done.stdout
