"""Faults of the agent's process and of what it stands on."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import subprocess
import time
from pathlib import Path
from random import Random

from rig.sandbox import remove_cgroup
from tests.chaos.faults import Undo, fault
from tests.chaos.rig import Rig
from tests.upgrades.versions import known, unpacked, versions

GONE = "no agent runs"
BEFORE = versions()[-1]
MEMORY = Path("/sys/fs/cgroup/memory")
PATIENT = 150.0  # seconds: on a busy machine an agent takes half a minute to start


@fault("agent", named=GONE, weight=2)
def agent_killed(rig: Rig, chance: Random) -> Undo:
    rig.agent.kill()
    return rig.launch


@fault("agent", named=GONE)
def agent_stopped_by_its_service(rig: Rig, chance: Random) -> Undo:
    rig.agent.stop()
    return rig.launch


@fault("agent", named="did not answer")
def agent_frozen(rig: Rig, chance: Random) -> Undo:
    rig.agent.send(signal.SIGSTOP)
    return lambda: rig.agent.send(signal.SIGCONT)


@fault("agent", holds=False)
def agent_killed_again_and_again(rig: Rig, chance: Random) -> None:
    """Also in the middle of its start."""
    for _ in range(chance.randint(2, 4)):
        rig.agent.kill()
        rig.launch()
        time.sleep(chance.uniform(0, 1.5))


def agent_downgraded(rig: Rig, chance: Random) -> Undo:
    """The last version but the present one serves for a while, and is upgraded then."""
    rig.become(unpacked(BEFORE.commit))
    return lambda: rig.become(None)


if known(BEFORE.commit):  # a shallow clone has no history
    fault("agent")(agent_downgraded)


@fault()
def clock_stepped(rig: Rig, chance: Random) -> Undo:
    """The agent's time of day is another one for a while, and set right again: two steps."""
    rig.clock.step(chance.choice((-1800, 1800, 86400)))
    return lambda: rig.clock.step(0)


@fault(holds=False)
def a_second_agent(rig: Rig, chance: Random) -> None:
    """It says that there is another one, and ends."""
    command = [*rig.agent.around, *rig.agent.command("agent")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENT)
    assert done.returncode == 1, done
    assert "another agent serves this node" in done.stderr, done.stderr


@fault("agent")
def no_memory_for_the_agent(rig: Rig, chance: Random) -> Undo:
    """It may have what it has, and a little more. It may end, and is started anew then as a service is."""
    pid = rig.pid
    size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (size + chance.choice((0, 1 << 16, 1 << 20)), resource.RLIM_INFINITY))

    def undo() -> None:
        if rig.agent.alive:
            resource.prlimit(pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        else:
            rig.launch()

    return undo


def memory_pressure(rig: Rig, chance: Random) -> Undo:
    """Whatever the agent needs from now on, also in the kernel, must fit into a few MB, or it is killed for it."""
    pid = str(rig.pid)
    (around,) = re.findall(r":memory:/(.*)", Path(f"/proc/{pid}/cgroup").read_text())
    mine = MEMORY / around / f"socklb-test-{os.getpid()}"
    mine.mkdir()
    (mine / "memory.limit_in_bytes").write_text(str(chance.choice((1, 4, 16)) << 20))
    (mine / "cgroup.procs").write_text(pid)

    def undo() -> None:
        (mine / "memory.limit_in_bytes").write_text("-1")
        with contextlib.suppress(ProcessLookupError):
            (mine.parent / "cgroup.procs").write_text(pid)
        rig.revive()
        remove_cgroup(mine)

    return undo


if MEMORY.exists():  # cgroup v1: with v2 the node's cgroup would need the controller, and the machine's root too
    fault("agent")(memory_pressure)


@fault()
def disk_full_under_the_log(rig: Rig, chance: Random) -> Undo:
    filling = rig.agent.log_file.with_name("filling")
    subprocess.run(["dd", "if=/dev/zero", f"of={filling}", "bs=64k"], capture_output=True, check=False)
    return filling.unlink


@fault("agent", holds=False)
def control_socket_removed(rig: Rig, chance: Random) -> None:
    rig.agent.socket.unlink(missing_ok=True)
