"""Lab 08: who is masqueraded and what is tracked, and a node that tracks after all is found."""

from collections.abc import Iterator

import pytest

from tests.labs.command import lab, run_whole
from tests.labs.state import state
from tests.support.cluster import Cluster
from tests.support.waiting import until

TRACKS = "add table inet tracks; add chain inet tracks seen { type filter hook prerouting priority 0; }"


@pytest.fixture
def tracking(cluster: Cluster) -> Iterator[None]:
    """A rule of somebody else on the client's node, which asks for conntrack."""
    node = cluster.node("w1")
    node.output("nft", f"{TRACKS}; add rule inet tracks seen ct state new counter")
    yield
    node.output("nft", "delete table inet tracks")


def test_every_claim_holds_and_afterwards_all_is_as_before(cluster: Cluster) -> None:
    before = state(cluster)
    run_whole("08")
    until(lambda: state(cluster) == before)


def test_a_node_that_tracks_is_found(cluster: Cluster, tracking: None) -> None:
    done = lab("run", "08", "--step", "3")
    lab("reset", "08")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "✗ w1 tracks none of them" in done.stdout
