"""Lab 05 on the real cluster: all its claims hold, it leaves nothing behind, and it notices what is broken."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.labs.command import lab, run_whole
from tests.labs.state import state
from tests.support.cluster import Cluster

FORGETS = """
import select, sys
from pathlib import Path
sys.path.insert(0, "/opt/socklb/lib")
from socklb.datapath import layout
from socklb.datapath.maps import HashTable
table = HashTable(Path("/sys/fs/bpf/socklb/v3/maps"), "affinity", layout.CLIENT.size, layout.AFFINE.size)
print("begun", flush=True)
while not select.select([sys.stdin], [], [], 0.002)[0]:
    table.delete([key for key, _ in table.items()])
"""


@pytest.fixture
def forgetful(cluster: Cluster) -> Iterator[None]:
    """The client's node remembers no client."""
    words = cluster.node("w1").argv("python3", "-c", FORGETS)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        yield  # the end of its input ends it
    lab("reset", "05")


def test_every_claim_holds_and_afterwards_all_is_as_before(cluster: Cluster) -> None:
    before = state(cluster)
    run_whole("05")
    assert state(cluster) == before


def test_a_node_that_forgets_its_clients_is_found(forgetful: None) -> None:
    done = lab("run", "05", "--step", "2")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "✗ all by one pod" in done.stdout
