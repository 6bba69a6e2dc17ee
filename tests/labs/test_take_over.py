"""Lab 11: a kube-proxy is taken over under load, and a step that does not do its part is found."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from labs.engine.places import ROOT
from tests.labs.command import lab, run_whole
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


def test_after_a_kill_in_the_middle_every_claim_holds_and_afterwards_all_is_as_before(cluster: Cluster) -> None:
    before = state(cluster)
    words = [Path(sys.executable).with_name("lab"), "run", "11"]
    quiet = subprocess.DEVNULL
    running = subprocess.Popen(words, cwd=ROOT, start_new_session=True, stdin=quiet, stdout=quiet, stderr=quiet)
    end = time.monotonic() + LIMIT
    while cluster.node("w1").run(["test", "-e", "/tmp/lab-stream.pid"]).returncode and time.monotonic() < end:
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert cluster.node("w1").run(["test", "-e", "/run/baseline/kube-proxy"]).returncode == 0, "it has begun"
    run_whole("11")
    until(lambda: state(cluster) == before)
