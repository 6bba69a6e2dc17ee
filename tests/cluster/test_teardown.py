"""deploys/teardown.py leaves nothing: after a whole cluster, after none, after a deploy that was killed half way.

These tests come last in a session (conftest.py), and leave whatever the last of them made.
"""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from inventory.connectors import netns_node
from inventory.connectors.this_machine import MADE_NETNS, NETNS, is_mount
from tests.support.cluster import ROOT, Cluster, changes, deploy, pyinfra, traces

pytestmark = pytest.mark.usefixtures("cluster")  # which is removed at the end of the session, with all that is here
UPPER = Path("/run/socklb/nodes")
# What is there when so much has been done. Under each the deploy is killed as soon as it shows.
STAGES = {
    "fabric": Path("/run/netns/socklb-fabric"),
    "first-node-half-made": UPPER,
    "nodes": UPPER / "w2/pid",
    "pods": UPPER / "w1/upper/usr/local/bin/pod",
    "bundle": UPPER / "w1/upper/opt/socklb.new",
}


def kill_a_deploy_at(stage: str) -> None:
    command = [sys.executable, "-m", "pyinfra", "-y", "inventory", "deploys/cluster.py"]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while running.poll() is None and not STAGES[stage].exists():
        time.sleep(0.002)
    assert running.poll() is None, f"the deploy ended before it came to {stage}"
    running.kill()
    running.wait()


@pytest.fixture
def nothing() -> None:
    if traces():
        deploy("teardown")
    assert traces() == []


def test_teardown_leaves_nothing_and_a_second_one_changes_nothing() -> None:
    ours = {path.name for path in NETNS.glob("socklb-*") if str(path) in traces()}
    assert "socklb-w1" in ours
    # Made by whoever used `ip netns add` here before, or in use by others: then it stays.
    others = not MADE_NETNS.exists() or {path.name for path in NETNS.iterdir()} > ours
    deploy("teardown")
    assert traces() == []
    assert is_mount(NETNS) == others
    assert changes(deploy("teardown")) == []
    assert traces() == []


@pytest.mark.usefixtures("nothing")
def test_teardown_of_a_whole_cluster_takes_nodes_along_that_no_inventory_has() -> None:
    netns_node.ensure("stray", ["172.18.0.77/24"])
    for words in (("@netns/w1",), ("inventory", "--limit", "@netns/cp")):
        assert pyinfra("-y", *words, "deploys/teardown.py").returncode == 0
        assert netns_node.nodes() == ["stray"]
    deploy("teardown")
    assert traces() == []


@pytest.mark.usefixtures("nothing")
@pytest.mark.parametrize("stage", STAGES)
def test_teardown_removes_what_a_killed_deploy_left(stage: str) -> None:
    kill_a_deploy_at(stage)
    assert traces() != []
    deploy("teardown")
    assert traces() == []


@pytest.mark.usefixtures("nothing")
@pytest.mark.parametrize("stage", ["first-node-half-made", "bundle"])
def test_a_killed_deploy_is_completed_by_the_next(stage: str, cluster: Cluster) -> None:
    kill_a_deploy_at(stage)
    deploy("cluster")
    assert changes(deploy("cluster")) == []
    url = f"http://{cluster.addresses('web-3')[0]}:8080/"
    assert cluster.pod("client").output("curl", "-s", "--max-time", "5", url) == "web-3"
