"""Lab 10: bpftool, socklb and bcc agree, and where a hook leads elsewhere the tracer says so."""

import json

from tests.labs.command import lab, run_whole
from tests.labs.state import state
from tests.support.cluster import Cluster
from tests.support.waiting import until


def test_every_claim_holds_and_afterwards_all_is_as_before(cluster: Cluster) -> None:
    before = state(cluster)
    run_whole("10")
    assert state(cluster) == before


def test_a_hook_that_is_gone_is_missed_by_name(cluster: Cluster) -> None:
    node = cluster.node("w1")
    agent = node.output("cat", "/run/socklb/agent.pid").strip()
    node.output("kill", "-STOP", agent)  # it would put the hook back
    try:
        node.output("/usr/sbin/bpftool", "link", "detach", "pinned", "/sys/fs/bpf/socklb/v3/links/connect4")
        done = lab("run", "10", "--step", "1")
        assert done.returncode == 1, done.stdout + done.stderr
        assert "✗ every hook is a program of the node's cgroup" in done.stdout
        traced = lab("run", "10", "--step", "5")
        assert "✗ SYNs went to its pods" in traced.stdout
    finally:
        node.output("kill", "-CONT", agent)
        until(lambda: json.loads(node.output("socklb", "status", "--json"))["problems"] == [])
