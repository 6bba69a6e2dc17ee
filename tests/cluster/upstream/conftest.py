"""The pods and servers of tests/support/world.py, once for all of these tests."""

from collections.abc import Iterator

import pytest

from inventory.place import Place
from tests.support.cluster import Cluster
from tests.support.world import World, built


@pytest.fixture(scope="package")
def whole_world(cluster: Cluster) -> Iterator[World]:
    with built(cluster) as world:
        yield world


@pytest.fixture
def world(whole_world: World) -> Iterator[World]:
    yield whole_world
    whole_world.manifests.clear()


@pytest.fixture
def client(whole_world: World) -> Place:
    """A pod of w1."""
    return whole_world.pods["client"]


@pytest.fixture
def far_client(whole_world: World) -> Place:
    """A pod of w2."""
    return whole_world.pods["client-2"]
