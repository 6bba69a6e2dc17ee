"""Lab 11: a step that does not do its part is found. The whole lab is in test_ordinary_way.py, with those beside it."""

from tests.labs.command import kill_in_the_middle, lab
from tests.labs.impostor import impostor
from tests.labs.state import state
from tests.support.cluster import Cluster
from tests.support.waiting import until

LIMIT = 90.0
NO_PACKET_PATH = 'case "$*" in *"packet_path = true"*) exit 0;; esac; exec $REAL "$@"'


def test_rules_that_are_removed_too_early_are_found(cluster: Cluster) -> None:
    """Nobody serves the client outside then: w2's agent has not got the packet path."""
    before = state(cluster)
    with impostor(cluster.node("w2"), "sed", NO_PACKET_PATH):
        done = lab("run", "11")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "✗ w2: no new connection of outside passes kube-proxy's rules" in " ".join(done.stdout.split())
    assert "✗ no connection failed" in " ".join(done.stdout.split())
    until(lambda: state(cluster) == before)


def test_after_a_kill_in_the_middle_a_reset_leaves_all_as_before(cluster: Cluster) -> None:
    before = state(cluster)
    node = cluster.node("w1")
    begun = ("test", "-e", "/tmp/lab-stream.pid")
    kill_in_the_middle("run", "11", begun=lambda: node.run(*begun).returncode == 0, limit=LIMIT)
    assert cluster.node("w1").run("test", "-e", "/run/baseline/kube-proxy").returncode == 0, "it has begun"
    done = lab("reset", "11")
    assert done.returncode == 0, done.stdout + done.stderr
    until(lambda: state(cluster) == before)
