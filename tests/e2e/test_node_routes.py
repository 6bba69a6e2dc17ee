"""The agents' routes follow the Nodes of the Kubernetes API."""

import json
from collections.abc import Iterator

import pytest

from tests.support.kubernetes import Kubernetes

ROUTES = "ip -4 route show proto 83; ip -6 route show proto 83"
NEW = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "newcomer"},
    "spec": {"podCIDRs": ["10.244.77.0/24", "fd00:10:244:77::/64"], "podCIDR": "10.244.77.0/24", "unschedulable": True},
}


@pytest.fixture
def newcomer(kubernetes: Kubernetes) -> Iterator[str]:
    """A Node without a machine, at the gateway's address: a neighbour of every node."""
    gateway = kubernetes.control_plane.output("sh", "-c", "ip -4 route show default | cut -d ' ' -f 3")
    with kubernetes.objects(NEW):
        status = {"status": {"addresses": [{"type": "InternalIP", "address": gateway}]}}
        kubernetes.kubectl("patch", "node", "newcomer", "--subresource=status", "--patch", json.dumps(status))
        yield gateway


def until(kubernetes: Kubernetes, condition: str) -> None:
    """Wait on every node, 30 s at most, for a shell condition on the routes."""
    script = f"for i in $(seq 150); do routes=$({ROUTES}); {condition} && exit 0; sleep 0.2; done; {ROUTES}; exit 1"
    for node in kubernetes.nodes.values():
        done = node.run("sh", "-c", script)
        assert done.returncode == 0, f"{condition}: {done.stdout}"


def test_a_node_that_comes_gets_a_route_on_every_other_and_loses_it_when_it_goes(
    kubernetes: Kubernetes, newcomer: str
) -> None:
    until(kubernetes, f'echo "$routes" | grep -q "10.244.77.0/24 via {newcomer}"')
    kubernetes.kubectl("delete", "node", "newcomer")
    until(kubernetes, '! echo "$routes" | grep -q 10.244.77.0/24')


def test_a_route_that_somebody_removes_comes_back(kubernetes: Kubernetes) -> None:
    node = kubernetes.nodes[kubernetes.workers[0]]
    before = node.output("sh", "-c", ROUTES)
    node.output("ip", "route", "delete", before.split()[0])
    assert node.output("sh", "-c", ROUTES) != before
    until(kubernetes, 'test "$(echo "$routes" | wc -l)" = 4')
    assert node.output("sh", "-c", ROUTES) == before
