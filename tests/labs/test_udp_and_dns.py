"""Lab 04 on the real cluster: all its claims hold, and it leaves nothing behind."""

from tests.labs.command import lab, run_whole
from tests.labs.state import state
from tests.support.cluster import Cluster


def test_every_claim_holds_and_afterwards_all_is_as_before(cluster: Cluster) -> None:
    before = state(cluster)
    run_whole("04")
    assert state(cluster) == before
    assert lab("exec", "client", "--", "ss", "-Hun").stdout == "", "no socket is open"
