"""Machines of our own making, reached by SSH: one docker for the whole session."""

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.support import sealed
from tests.support.cluster import HostSettings
from tests.support.machines import Machines
from tests.support.sealed import docker, remains, run

KILLED = """
import os, signal
from tests.support.machines import Machine, Machines
Machine.wait = lambda self: os.kill(os.getpid(), signal.SIGKILL)
Machines().__enter__().start(half=12)
"""


@pytest.fixture(scope="session")
def settings_before() -> HostSettings:
    """This machine's settings before this session started anything."""
    if os.geteuid() != 0:
        pytest.skip("a docker of our own needs root")
    sealed.stop()
    return HostSettings.now()


@pytest.fixture(scope="session")
def left_half_made(settings_before: HostSettings) -> str:
    """The id of a machine that is being made when its maker is killed."""
    assert run(sys.executable, "-c", KILLED, timeout=600).returncode == -signal.SIGKILL
    assert remains()
    return docker("ps", "--no-trunc", "--quiet")


@pytest.fixture(scope="session")
def machines(left_half_made: str) -> Iterator[Machines]:
    with Machines() as them:
        yield them
    assert remains() == []
    sealed.stop()
    assert remains() == []
