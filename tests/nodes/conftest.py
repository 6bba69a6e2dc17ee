"""testinfra over the inventory: `pytest tests/nodes --inventory local` checks what the deploys left on every node.

The tests take a cluster that is there as it is. Only the local one is built if absent, and then removed at the end.
A test takes `node` and runs once for each host, or for each host of one group: @pytest.mark.group("nodes"), or
@pytest.mark.group("nodes", but="kubernetes"). One that is about no host of the inventory is deselected.
"""

import os
from collections.abc import Iterator

import pytest
from testinfra.host import Host as Node

from inventory import hosts
from inventory.hosts import Host
from inventory.testinfra_host import testinfra_host
from tests.support.cluster import Cluster, deploy

DEFAULT = "local"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--inventory", default=DEFAULT, help="inventory/<name>.py whose hosts tests/nodes looks at")


def pytest_configure(config: pytest.Config) -> None:
    try:
        hosts.path(chosen(config))
    except hosts.UnknownInventoryError as error:
        raise pytest.UsageError(f"--inventory {error}") from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "machine" in metafunc.fixturenames:
        inventory = hosts.load(hosts.path(chosen(metafunc.config)))
        mark = metafunc.definition.get_closest_marker("group")
        found = list(inventory)
        if mark:
            but = inventory.get_group(mark.kwargs.get("but", ""), [])
            found = [host for host in inventory.get_group(mark.args[0], []) if host not in but]
        ids = [hosts.short_name(host) for host in found] or ["nowhere"]
        metafunc.parametrize("machine", found or [None], ids=ids, scope="module")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    nowhere = [item for item in items if isinstance(item, pytest.Function) and item.name.endswith("[nowhere]")]
    config.hook.pytest_deselected(items=nowhere)
    items[:] = [item for item in items if item not in nowhere]


def chosen(config: pytest.Config) -> str:
    return config.getoption("--inventory", default=DEFAULT)


@pytest.fixture(scope="session")
def cluster_is_there(request: pytest.FixtureRequest) -> Iterator[None]:
    if chosen(request.config) != "local" or Cluster().exists():
        yield
        return
    if os.geteuid() != 0:
        pytest.skip("the local cluster needs root")
    deploy("cluster")
    yield
    deploy("teardown")


@pytest.fixture(scope="module")
def node(machine: Host, cluster_is_there: None) -> Node:
    return testinfra_host(machine)
