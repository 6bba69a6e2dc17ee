"""One local cluster for the whole session, built through pyinfra, removed at its end (SOCKLB_KEEP=1 keeps it)."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import workers
from tests.support.cluster import Cluster, HostSettings, deploy
from tests.support.conformance import Report

KEEP = bool(os.environ.get("SOCKLB_KEEP"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "upstream(behaviour): which test of Kubernetes this one stands for")
    config.pluginmanager.register(Report("build/conformance.md"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes the cluster away comes last, after other tiers of the session too: nobody has to build it again."""
    items.sort(key=lambda item: item.path == Path(__file__).with_name("test_teardown.py"))


@pytest.fixture(scope="session")
def host_before() -> HostSettings:
    """The host's settings before this session built anything."""
    if os.geteuid() != 0:
        pytest.skip("the local cluster needs root")
    if not KEEP:
        deploy("teardown")
    return HostSettings.now()


@pytest.fixture(scope="session")
def cluster(host_before: HostSettings) -> Iterator[Cluster]:
    deploy("cluster")
    yield Cluster()
    workers.end_all()
    if not KEEP:
        deploy("teardown")
