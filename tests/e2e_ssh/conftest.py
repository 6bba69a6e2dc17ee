"""Machines of our own making, reached by SSH: one docker and one cluster for the whole session.

The cluster is one whose first runs were killed: every test that follows is also one of what the last run made of it.
SOCKLB_KEEP=1 keeps it at the end, and goes on with one that was kept.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support import sealed
from tests.support.bare_metal import BareMetal
from tests.support.cluster import HostSettings
from tests.support.kubernetes import Kubernetes
from tests.support.machines import FOLDER, STATE, Machines
from tests.support.sealed import ROOT, docker, output, remains, run
from tests.support.snapshot import Snapshot, snapshot

BARE = FOLDER / "bare.json"
CONTROL_PLANE, WORKERS = "cp", ["w1", "w2"]
KILLS = int(os.environ.get("SOCKLB_KILLS", "10"))
KILLED_WITHIN = (4.0, 25.0)  # seconds; a whole run takes four times as long
KEEP = bool(os.environ.get("SOCKLB_KEEP"))
KILLED = """
import os, signal
from tests.support.machines import Machine, Machines
Machine.wait = lambda self: os.kill(os.getpid(), signal.SIGKILL)
Machines().__enter__().start(half="12")
"""


@pytest.fixture(scope="session")
def settings_before() -> HostSettings:
    """This machine's settings before this session started anything."""
    if os.geteuid() != 0:
        pytest.skip("a docker of our own needs root")
    if not KEEP:
        sealed.stop()
    return HostSettings.now()


@pytest.fixture(scope="session")
def left_half_made(settings_before: HostSettings) -> str:
    """The id of a machine that is being made when its maker is killed; nothing where machines were kept."""
    if KEEP and STATE.exists():
        return ""
    assert run(sys.executable, "-c", KILLED, timeout=600).returncode == -signal.SIGKILL
    assert remains()
    return docker("ps", "--no-trunc", "--quiet")


@pytest.fixture(scope="session")
def machines(left_half_made: str) -> Iterator[Machines]:
    them = Machines().__enter__() if left_half_made else Machines().find()
    yield them
    if not KEEP:
        them.__exit__(None, None, None)
        assert remains() == []
        sealed.stop()
        assert remains() == []


@pytest.fixture(scope="session")
def source() -> Path:
    """The folder that the machines get everything from."""
    with sealed.at_home():
        return Path(output(ROOT / "images" / "offline.sh", timeout=900))


@pytest.fixture(scope="session")
def metal(machines: Machines, source: Path, tmp_path_factory: pytest.TempPathFactory) -> BareMetal:
    """Three bare machines, and an inventory that says what they are to be."""
    if CONTROL_PLANE not in machines:
        machines.start(cp="12", w1="12", w2="13")
    metal = BareMetal(machines, tmp_path_factory.mktemp("inventory"), source)
    metal.write([CONTROL_PLANE], WORKERS)
    return metal


@pytest.fixture(scope="session")
def bare(metal: BareMetal) -> Mapping[str, Snapshot]:
    """What the machines were like before any deploy."""
    if not BARE.exists():
        BARE.write_text(json.dumps({name: snapshot(metal.machines[name]) for name in (CONTROL_PLANE, *WORKERS)}))
    found: dict[str, Snapshot] = json.loads(BARE.read_text())
    return found


@pytest.fixture(scope="session")
def cut_off(metal: BareMetal, bare: Mapping[str, Snapshot]) -> list[float]:
    """The seconds after which runs were killed, one after the other, each with what the one before left."""
    if metal.machines[CONTROL_PLANE].console("test", "-e", "/etc/kubernetes/admin.conf").returncode == 0:
        return []  # it was kept
    chance = random.Random(os.environ.get("SOCKLB_SEED") or time.time_ns())
    moments = [chance.uniform(*KILLED_WITHIN) for _ in range(KILLS)]
    for moment in moments:
        with metal.start("cluster") as process:
            time.sleep(moment)
            os.killpg(process.pid, signal.SIGKILL)
    return moments


@pytest.fixture(scope="session")
def cluster(metal: BareMetal, cut_off: list[float]) -> Kubernetes:
    metal.deploy("cluster")
    return metal.kubernetes()
