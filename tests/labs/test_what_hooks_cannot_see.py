"""Lab 09: what no hook sees is served on the packet, and a node that does not is found."""

from collections.abc import Iterator

import pytest

from tests.labs.command import lab, run_whole
from tests.labs.state import state
from tests.support.cluster import Cluster
from tests.support.waiting import until

MACHINE = "192.168.77.2"  # behind the pod, as the lab makes it


@pytest.fixture
def forwards_nothing(cluster: Cluster) -> Iterator[None]:
    """The client's node drops what the machine behind the pod sends, behind the packet path."""
    node, table = cluster.node("w1"), "inet drops"
    chain = f"add chain {table} forward {{ type filter hook forward priority 0; }}"
    node.output("nft", f"add table {table}; {chain}; add rule {table} forward ip saddr {MACHINE} drop")
    yield
    node.output("nft", f"delete table {table}")


def test_every_claim_holds_and_afterwards_all_is_as_before(cluster: Cluster) -> None:
    before = state(cluster)
    run_whole("09")
    until(lambda: state(cluster) == before)


@pytest.mark.usefixtures("forwards_nothing")
def test_a_machine_that_nobody_answers_is_found(cluster: Cluster) -> None:
    done = lab("run", "09", "--step", "2")
    lab("reset", "09")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "✗ a pod answers the machine" in done.stdout
    assert "✓ the pod forwards a SYN to the Service's address" in done.stdout
