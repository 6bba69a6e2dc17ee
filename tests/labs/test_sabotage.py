"""The lab tells the truth: with the product or the harness broken on purpose, it says so, and says which of the two."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from labs.engine.model import load
from labs.engine.places import TOO_SLOW, ask, at
from labs.engine.target import find_place
from tests.labs.command import cases, lab
from tests.labs.impostor import impostor
from tests.labs.translating import translating
from tests.support.cluster import Cluster, deploy


@pytest.fixture
def detached(cluster: Cluster) -> Iterator[None]:
    """No hook on w1, the client's node."""
    w1 = cluster.node("w1")
    w1.output("sh", "-c", "kill $(cat /run/socklb/agent.pid) && while socklb status >/dev/null; do sleep 0.1; done")
    w1.output("socklb", "cleanup")
    yield
    deploy("agent")


def test_without_the_hooks_each_step_is_false_and_only_the_control_is_true(detached: None, tmp_path: Path) -> None:
    done = lab("run", "01", "--ci", "--junit", str(tmp_path / "junit.xml"))
    assert done.returncode == 1, done.stdout
    found = cases(tmp_path / "junit.xml")
    by_step = {step: {outcome for at, _, outcome in found if at == step} for step, _, _ in found}
    control = next(step for step in by_step if "control" in step)
    assert by_step.pop(control) == {"true"}
    last = list(by_step)[-1]
    assert by_step.pop(last) == {"true"}  # on the packet every backend serves too
    assert len(by_step) == len(load("01").steps) - 2
    assert all(outcomes == {"true", "failure"} for outcomes in by_step.values()), found
    nevers = [outcome for _, claim, outcome in found if claim.endswith("never appears")]
    assert nevers == ["failure"] * 5


def test_a_capture_that_sees_nothing_is_doubt_and_not_proof(cluster: Cluster) -> None:
    with impostor(cluster.node("w1"), "tcpdump", 'exec $REAL "$@" and less 1'):
        done = lab("run", "01", "--step", "3", "--ci")
        lab("reset", "01")
    assert done.returncode == 4, done.stdout
    assert "? w2:32000 (172.18.0.4:32000) never appears" in done.stdout


def test_a_capture_that_does_not_start_is_doubt(cluster: Cluster) -> None:
    with impostor(cluster.node("w1"), "tcpdump", "echo 'no permission to capture' >&2; exit 1"):
        done = lab("run", "01", "--step", "3")
        lab("reset", "01")
    assert done.returncode == 4, done.stdout
    assert "no permission to capture" in done.stdout


def test_a_control_that_is_hooked_after_all_is_doubt(cluster: Cluster) -> None:
    forgets = 'for word; do shift; [ "$word" = --unhooked ] || set -- "$@" "$word"; done; exec $REAL "$@"'
    with impostor(cluster.node("w1"), "pod", forgets):
        done = lab("run", "01", "--step", "3")
        lab("reset", "01")
    assert done.returncode == 4, done.stdout
    assert "? w2:32000 (172.18.0.4:32000) is on the wire" in done.stdout


def test_a_node_on_the_way_that_translates_is_found(cluster: Cluster) -> None:
    with translating(cluster.node("w1")):
        done = lab("run", "01", "--step", "6")
    assert done.returncode == 1, done.stdout
    assert "✗ nothing but these two pods' addresses is on that wire" in done.stdout


def test_a_pod_that_does_not_serve_is_missed(cluster: Cluster) -> None:
    """Its EndpointSlice still names web-2, so some of the connections are refused."""
    w2 = cluster.node("w2")
    (nginx,) = w2.output("sh", "-c", "pgrep -P 1 -f 'nginx.*web-2'").split()
    w2.output("kill", nginx)
    try:
        done = lab("run", "01", "--step", "7")
    finally:
        deploy("cluster")
    assert done.returncode == 1, done.stdout
    assert "✗ by every pod of the Service, and by no other" in done.stdout


def test_a_command_that_does_not_end_is_ended_and_judged(cluster: Cluster) -> None:
    done = ask(find_place("client"), at("client", "sleep", "3", seconds=0.5))
    assert (done.exit, done.err) == (TOO_SLOW, "this did not end within 0.5 s")


def test_what_was_judged_before_a_step_that_cannot_run_is_in_the_report(cluster: Cluster, tmp_path: Path) -> None:
    refuses = '[ "$1" != flow ] || { echo "Operation not permitted" >&2; exit 1; }; exec $REAL "$@"'
    with impostor(cluster.node("cp"), "socklb", refuses):
        done = lab("run", "01", "--junit", str(tmp_path / "junit.xml"))
    assert done.returncode == 3
    assert "Operation not permitted" in done.stderr
    assert len({step for step, _, _ in cases(tmp_path / "junit.xml")}) == 1


def test_a_node_that_does_not_answer_stops_the_lab(cluster: Cluster) -> None:
    with impostor(cluster.node("w2"), "pod", "echo 'pod list: no such thing' >&2; exit 1"):
        done = lab("run", "01", "--step", "2")
    assert done.returncode == 3
    assert "node w2 does not say which pods it has" in done.stderr
