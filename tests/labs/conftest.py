"""The local cluster as the labs find it: with the agent serving. One that was there stays (SOCKLB_KEEP=1 keeps any)."""

import os
from collections.abc import Iterator

import pytest

from tests.support.cluster import Cluster, deploy

KEEP = bool(os.environ.get("SOCKLB_KEEP"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if os.geteuid() != 0:
        pytest.skip("the local cluster needs root")
    was_there = Cluster().exists()
    deploy("lab")
    yield Cluster()
    if not (was_there or KEEP):
        deploy("teardown")
