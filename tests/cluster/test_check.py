"""`socklb check` on the nodes of the local cluster: servers that are really there, on this node and on others."""

from __future__ import annotations

import json

import pytest

from tests.support.cluster import Cluster, deploy, pyinfra

KINDS = {
    *("hooks", "agent", "own connect", "from a pod", "refusal", "from the node", "NodePort here", "NodePort elsewhere"),
    *("getpeername", "DNS", "packet path", "from outside"),
}


@pytest.mark.parametrize("name", ["cp", "w1", "w2"])
def test_everything_that_is_tried_on_a_node_works(cluster: Cluster, name: str) -> None:
    done = cluster.node(name).run("socklb", "check", "--json")
    found = json.loads(done.stdout)
    assert [row for row in found if row["verdict"] == "failed"] == []
    assert done.returncode == 0
    assert {row["check"] for row in found} == KINDS
    assert {row["check"] for row in found if row["verdict"] == "skipped"} <= {
        "own connect",
        "from outside",
    }  # not tried yet; not by nftables


def test_every_node_of_the_inventory_is_checked_and_who_does_not_serve_is_named(cluster: Cluster) -> None:
    assert deploy("check")["totals"] == {"hosts": 3, "success": 3, "no_change": 0, "error": 0}
    node = cluster.node("w1")
    agent = node.output("cat", "/run/socklb/agent.pid").strip()
    node.output("kill", "-STOP", agent)
    try:
        done = pyinfra("inventory", "deploys/check.py", "-y")
    finally:
        node.output("kill", "-CONT", agent)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if "FAILED" in line]
    assert "[@netns/w1]" in line
    assert "the agent did not answer in 5 s" in line
