"""Services of the kind cluster, asked from everywhere in it."""

from collections.abc import Iterator

import pytest

from inventory.group_data.kind import services, tools_image
from tests.support.kubernetes import Kubernetes, Place

NAMES = ("socklb-control-plane", "socklb-worker", "socklb-worker2")
HOST_CLIENT = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {"name": "host-client", "namespace": "default"},
    "spec": {
        "selector": {"matchLabels": {"app": "host-client"}},
        "template": {
            "metadata": {"labels": {"app": "host-client"}},
            "spec": {
                "hostNetwork": True,
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "client", "image": tools_image, "command": ["sleep", "infinity"]}],
            },
        },
    },
}

everywhere = pytest.mark.parametrize("node", NAMES)
clients = pytest.mark.parametrize("client", ["pod", "host-network pod", "node process", "kubelet", "containerd"])
families = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])


@pytest.fixture(scope="module")
def host_clients(kubernetes: Kubernetes) -> Iterator[None]:
    with kubernetes.objects(HOST_CLIENT):
        kubernetes.rolled_out("daemonset/host-client")
        yield


@pytest.fixture
def asking(kubernetes: Kubernetes, host_clients: None, node: str, client: str) -> Place:
    match client:
        case "pod":
            return kubernetes.pod_on(node)
        case "host-network pod":
            return kubernetes.pod_on(node, "app=host-client")
        case "node process":
            return kubernetes.nodes[node]
        case unit:
            return kubernetes.process_of(node, f"{unit}.service")


def urls(address: str, port: int, times: int) -> list[str]:
    host = f"[{address}]" if ":" in address else address
    return [f"http://{host}:{port}/"] * times


def servers(kubernetes: Kubernetes) -> set[str]:
    return {pod["metadata"]["name"] for pod in kubernetes.pods("app=web")}


def curl(place: Place, address: str, port: int, times: int = 1) -> set[str]:
    return set(place.output("curl", "-sS", "--max-time", "5", *urls(address, port, times)).splitlines())


@everywhere
@clients
@families
def test_a_cluster_ip_is_served_by_every_backend(kubernetes: Kubernetes, asking: Place, family: int) -> None:
    assert curl(asking, services["web"]["addresses"][family], 80, times=40) == servers(kubernetes)


@everywhere
@clients
@families
@pytest.mark.parametrize("asked", NAMES)
def test_the_node_port_of_every_node_is_served(kubernetes: Kubernetes, asking: Place, asked: str, family: int) -> None:
    assert curl(asking, kubernetes.addresses(asked)[family], 32000) <= servers(kubernetes)


@everywhere
@clients
@families
def test_a_service_without_endpoints_refuses_at_once(asking: Place, family: int) -> None:
    (url,) = urls(services["empty"]["addresses"][family], 80, 1)
    done = asking.run("curl", "-sS", "--max-time", "5", url)
    assert done.returncode == 7, done.stderr  # could not connect; 28 would be a timeout
    assert "refused" in done.stderr or "Could not connect" in done.stderr or "Couldn't connect" in done.stderr


@everywhere
@pytest.mark.parametrize("client", ["pod", "host-network pod"])  # a node has no dig
@pytest.mark.parametrize("tcp", [[], ["+tcp"]], ids=["UDP", "TCP"])
def test_dns_is_served_over_both_protocols(asking: Place, tcp: list[str]) -> None:
    answer = asking.output("dig", "+short", *tcp, f"@{services['dns']['addresses'][0]}", "web.example.test")
    assert answer == services["web"]["addresses"][0]
