"""How a deploy starts the agent where no systemd runs: its own commands, with a real agent, on a machine apart."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.sandbox import remove_cgroup
from roles.agent.facts import PIDFILE, PROGRAM, is_own
from roles.agent.operations import restart_daemon, until_synced
from socklb.datapath import mounts

SOCKLB = Path(__file__).parents[2] / ".venv" / "bin" / "socklb"
START = f"{restart_daemon()} && {until_synced(systemd=False)}"
SERVING = f"""{PROGRAM} status --json | sed -n 's/.*"pid": *\\([0-9]*\\).*/\\1/p'"""
STALE = f"echo 4194304 >{PIDFILE}"  # more than any process has
MACHINE = f"""
set -e
mount --make-rprivate / && ip link set lo up
for place in /run /opt /var/log; do mount -t tmpfs none $place; done
mount -t bpf none /sys/fs/bpf
mkdir -p /run/socklb/manifests {Path(PROGRAM).parent}
printf '#!/bin/sh\\nexec {SOCKLB} "$@" --config /run/socklb/socklb.toml\\n' >{PROGRAM}
chmod +x {PROGRAM}
cat >/run/socklb/socklb.toml <<END
node = "w1"
manifests = "/run/socklb/manifests"
packet_path = false
cgroup = "$1"
END
eval "$2"
"""


@pytest.fixture
def cgroup() -> Iterator[Path]:
    root = mounts.cgroup2_root(mounts.read_mounts())
    assert root is not None
    made = root / f"socklb-test-restart-{os.getpid()}"
    made.mkdir()
    yield made
    for directory in sorted((path for path in made.rglob("*") if path.is_dir()), reverse=True):
        remove_cgroup(directory)
    remove_cgroup(made)


def told(cgroup: Path, *story: str) -> list[str]:
    """Return the lines that the commands say, the last of which cleans up; all that they started ends with them."""
    clean = f"kill $({SERVING}); while {PROGRAM} status >/dev/null; do sleep 0.1; done; {PROGRAM} cleanup >/dev/null"
    machine = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
    argv = [*machine, "sh", "-c", MACHINE, "sh", str(cgroup), "\n".join((*story, clean))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout.split()


def test_an_agent_that_the_pid_file_does_not_name_is_replaced(cgroup: Path) -> None:
    """Two starts at once, or one by hand: the file names the one that found the node served, and ended."""
    again = f"if {is_own(systemd=False)}; then echo own; else echo stray; fi"
    story = (START, SERVING, STALE, again, START, SERVING, f"cat {PIDFILE}", again)
    stray, before, serving, named, after = told(cgroup, *story)
    assert (before, after) == ("stray", "own")
    assert serving == named != stray


def test_a_number_that_is_another_processs_by_now_is_left_alone(cgroup: Path) -> None:
    story = (f"sleep 60 & echo $! >{PIDFILE}", "other=$!", START, "kill -0 $other && echo lives", "kill $other")
    assert told(cgroup, *story) == ["lives"]
