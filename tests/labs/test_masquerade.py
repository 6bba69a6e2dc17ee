"""Lab 08: who is masqueraded and what is tracked, and afterwards all is as before."""

from tests.labs.command import run_whole
from tests.labs.state import state
from tests.support.cluster import Cluster
from tests.support.waiting import until


def test_every_claim_holds_and_afterwards_all_is_as_before(cluster: Cluster) -> None:
    before = state(cluster)
    run_whole("08")
    until(lambda: state(cluster) == before)
