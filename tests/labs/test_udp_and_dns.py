"""Lab 04 on the real cluster: all its claims hold, it leaves nothing behind, and it notices what is broken."""

from collections.abc import Iterator

import pytest

from inventory.place import Place
from tests.labs.command import lab, run_whole
from tests.labs.state import state
from tests.support.cluster import Cluster, deploy

END_AGENT = "kill $(cat /run/socklb/agent.pid) && while socklb status >/dev/null; do sleep 0.1; done"
# Without CAP_SYS_PTRACE it may not have another process's socket, and cannot move it.
POOR_AGENT = (
    "start-stop-daemon --quiet --start --background --make-pidfile --pidfile /run/socklb/agent.pid "
    "--startas $(command -v setpriv) -- --bounding-set=-sys_ptrace $(command -v socklb) agent && "
    "for i in $(seq 100); do socklb status >/dev/null && exit; sleep 0.1; done; exit 1"
)


@pytest.fixture
def node(cluster: Cluster) -> Iterator[Place]:
    """Give the client's node. Its agent is ended, and runs again afterwards as it should."""
    w1 = cluster.node("w1")
    yield w1
    w1.run("sh", "-c", END_AGENT)
    deploy("agent")
    lab("reset", "04")


def test_every_claim_holds_and_afterwards_all_is_as_before(cluster: Cluster) -> None:
    before = state(cluster)
    run_whole("04")
    assert state(cluster) == before
    assert lab("exec", "client", "--", "ss", "-Hun").stdout == "", "no socket is open"


def test_without_the_hook_at_recvmsg_the_answer_has_the_wrong_sender(node: Place) -> None:
    assert lab("run", "04", "--step", "2").returncode == 0
    node.output("sh", "-c", END_AGENT)  # it would put the hook back
    node.output("rm", "/sys/fs/bpf/socklb/v3/links/recvmsg4")
    done = lab("run", "04", "--step", "2")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "✗ recvfrom() names the Service, five times" in done.stdout


def test_a_socket_that_the_agent_cannot_move_is_missed(node: Place) -> None:
    """The kernel closes it: its application is told, and has to open another."""
    node.output("sh", "-c", END_AGENT)
    node.output("sh", "-c", POOR_AGENT)
    done = lab("run", "04", "--step", "5")
    assert done.returncode == 1, done.stdout + done.stderr
    assert '"error": ' in done.stdout
    assert "✗ another pod answers" in done.stdout
