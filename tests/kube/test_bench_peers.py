"""The bench's peers run, socklb's agent and both modes of the real kube-proxy. What it measures is not asserted."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from bench.node import cgroup
from bench.peers import part
from bench.peers.usage import Usage
from bench.runs import read
from socklb.datapath import mounts
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]


def test_every_peer_serves_and_has_every_figure_and_nothing_is_left_behind(programs: Path, tmp_path: Path) -> None:
    command = (sys.executable, "-m", "bench", "peers", "--of-peers", "41", "--changes", "2", "--into", str(tmp_path))
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as bench:
        printed, said = bench.communicate(timeout=300)
    assert bench.returncode == 0, said
    (path,) = tmp_path.iterdir()
    figures = read(path).figures
    of_peer = {
        peer: {figure.what: figure.value for figure in figures if figure.column == peer}
        for peer in (part.SOCKLB, *part.MODES)
    }
    names = of_peer[part.SOCKLB].keys()
    for peer, found in of_peer.items():
        assert found.keys() == names, peer
        assert {what: value for what, value in found.items() if value == 0}.keys() <= {
            f"{part.START}: one connect to each Service then",
            f"{part.RESTART}: of the client's connects meanwhile",
        }, printed
        assert found[f"{part.START}: one connect to each Service then"] == 0, printed
    root = mounts.cgroup2_root(mounts.read_mounts())
    assert root is not None
    assert not [*root.glob(f"socklb-bench-{bench.pid}*"), *Path("/tmp").glob(f"socklb-bench-{bench.pid}-*")]


BUSY = """
import time
held, end = b"x" * 60_000_000, time.process_time() + 0.3
while time.process_time() < end: pass
"""


def test_cpu_and_memory_of_a_child_that_has_ended_are_counted_and_those_of_others_are_not() -> None:
    with ExitStack() as opened:
        counted, beside = cgroup(opened, "counted"), cgroup(opened, "beside")
        with Usage(counted) as usage, Usage(beside) as other:
            child = 'echo 0 >"$1"/cgroup.procs && "$2" -c "$3"; true'
            subprocess.run(["sh", "-c", child, "sh", counted, sys.executable, BUSY], check=True)
        assert usage.cpu > 0.3
        assert usage.peak > 60_000_000
        assert (other.cpu, other.peak) == (0, 0)


def test_what_a_peer_left_running_is_ended() -> None:
    with ExitStack() as opened:
        counted = cgroup(opened, "counted")
        command = 'echo 0 >"$1"/cgroup.procs; sleep 60 & wait'
        with subprocess.Popen(["sh", "-c", command, "sh", counted]) as left:
            until(lambda: len((counted / "cgroup.procs").read_text().split()) == 2)
            left.kill()
    assert not counted.exists()
