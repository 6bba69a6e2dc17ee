"""Services of the kind cluster, asked from everywhere in it."""

import functools
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import pytest

from inventory.group_data.kind import services, tools_image
from inventory.place import Place
from tests.support.kubernetes import Kubernetes

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

Question = tuple[str, int | str]  # web, empty or a node, and the family; or dns and its option


class Answer(NamedTuple):
    code: int
    text: str


Answers = dict[Question, Answer]

everywhere = pytest.mark.parametrize("node", NAMES)
clients = pytest.mark.parametrize("client", ["pod", "host-network pod", "node process", "kubelet", "containerd"])
families = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])


@pytest.fixture(scope="module")
def host_clients(kubernetes: Kubernetes) -> Iterator[None]:
    with kubernetes.objects(HOST_CLIENT):
        kubernetes.rolled_out("daemonset/host-client")
        yield


@pytest.fixture(scope="module")
def told(kubernetes: Kubernetes, host_clients: None) -> Callable[[str, str], Answers]:
    """All that a client is told: everything is asked by one process of it, when its first test comes."""

    @functools.cache
    def ask(node: str, client: str) -> Answers:
        return ask_all(place(kubernetes, node, client), questions(kubernetes, dns="pod" in client))

    return ask


@pytest.fixture
def answers(told: Callable[[str, str], Answers], node: str, client: str) -> Answers:
    return told(node, client)


def place(kubernetes: Kubernetes, node: str, client: str) -> Place:
    match client:
        case "pod":
            return kubernetes.pod_on(node)
        case "host-network pod":
            return kubernetes.pod_on(node, "app=host-client")
        case "node process":
            return kubernetes.nodes[node]
        case unit:
            return kubernetes.process_of(node, f"{unit}.service")


def questions(kubernetes: Kubernetes, *, dns: bool) -> dict[Question, list[str]]:
    found: dict[Question, list[str]] = {}
    for family in (0, 1):
        found["web", family] = curl(services["web"]["addresses"][family], 80, times=40)
        found["empty", family] = curl(services["empty"]["addresses"][family], 80)
        for asked in NAMES:
            found[asked, family] = curl(kubernetes.addresses(asked)[family], 32000)
    if dns:  # a node has no dig
        for tcp in ("", "+tcp"):
            found["dns", tcp] = [
                "dig",
                "+short",
                *tcp.split(),
                f"@{services['dns']['addresses'][0]}",
                "web.example.test",
            ]
    return found


def curl(address: str, port: int, times: int = 1) -> list[str]:
    host = f"[{address}]" if ":" in address else address
    return ["curl", "-sS", "--max-time", "5", *[f"http://{host}:{port}/"] * times]


def ask_all(place: Place, asked: Mapping[Question, list[str]]) -> Answers:
    """Run all commands in one process; give the exit code of each, and what it said on both outputs."""
    script = "\n".join(f"{shlex.join(words)} 2>&1; printf '\\001%s\\001' $?" for words in asked.values())
    parts = place.output("sh", "-c", script, timeout=300).split("\001")
    return {question: Answer(int(parts[2 * n + 1]), parts[2 * n].strip()) for n, question in enumerate(asked)}


@pytest.fixture(scope="module")
def servers(kubernetes: Kubernetes) -> set[str]:
    return {pod["metadata"]["name"] for pod in kubernetes.pods("app=web")}


@everywhere
@clients
@families
def test_a_cluster_ip_is_served_by_every_backend(answers: Answers, servers: set[str], family: int) -> None:
    answer = answers["web", family]
    assert answer.code == 0, answer.text
    assert set(answer.text.splitlines()) == servers


@everywhere
@clients
@families
@pytest.mark.parametrize("asked", NAMES)
def test_the_node_port_of_every_node_is_served(answers: Answers, servers: set[str], asked: str, family: int) -> None:
    answer = answers[asked, family]
    assert answer.code == 0, answer.text
    assert set(answer.text.splitlines()) <= servers


@everywhere
@clients
@families
def test_a_service_without_endpoints_refuses_at_once(answers: Answers, family: int) -> None:
    code, text = answers["empty", family]
    assert code == 7, text  # could not connect; 28 would be a timeout
    assert "refused" in text or "Could not connect" in text or "Couldn't connect" in text


@everywhere
@pytest.mark.parametrize("client", ["pod", "host-network pod"])  # a node has no dig
@pytest.mark.parametrize("tcp", [[], ["+tcp"]], ids=["UDP", "TCP"])
def test_dns_is_served_over_both_protocols(answers: Answers, tcp: list[str]) -> None:
    assert answers["dns", "".join(tcp)] == Answer(0, services["web"]["addresses"][0])
