"""A running Pod that is labelled goes past the hooks, seen on its wire beside another; unlabelled, by them again."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from inventory.group_data.kind import services
from tests.e2e.test_wire import addresses, capture
from tests.support.cluster import ROOT
from tests.support.kubernetes import Kubernetes, deploy
from tests.support.waiting import until

RIGHTS = (ROOT / "deploys" / "kubernetes" / "rbac-bypass.yaml").read_text()
LABEL = "socklb.io/bypass"
FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])


@pytest.fixture(scope="module")
def bypassing(kubernetes: Kubernetes) -> Iterator[None]:
    """Agents that may read Pods and Namespaces, and do."""
    kubernetes.kubectl("apply", "--filename", "-", given=RIGHTS)
    deploy("agent", "bypass_pods=true")
    yield
    deploy("agent")
    kubernetes.kubectl("delete", "--filename", "-", given=RIGHTS)


@pytest.fixture
def labelled(kubernetes: Kubernetes, bypassing: None) -> Iterator[str]:
    """The client pod of the first worker, which runs already."""
    name = client_on(kubernetes, kubernetes.workers[0])
    kubernetes.kubectl("label", "pod", name, f"{LABEL}=true")
    until(lambda: [row["pod"] for row in left_out(kubernetes)] == [f"default/{name}"], 30)
    yield name
    kubernetes.kubectl("label", "pod", name, f"{LABEL}-")
    until(lambda: not left_out(kubernetes), 30)


def client_on(kubernetes: Kubernetes, node: str) -> str:
    pod, *_ = kubernetes.pods("app=client", f"--field-selector=spec.nodeName={node}")
    return str(pod["metadata"]["name"])


def left_out(kubernetes: Kubernetes) -> list[dict[str, Any]]:
    """What the first worker leaves out."""
    status: dict[str, Any] = json.loads(
        kubernetes.nodes[kubernetes.workers[0]].output("socklb", "status", "--json", timeout=20)
    )
    return list(status["left_out"])


def asked_first(kubernetes: Kubernetes, name: str, family: int) -> tuple[str, int]:
    """Have a pod ask the Service `web`; give whom its first packet is for."""
    ip = services["web"]["addresses"][family]
    last = next(one for one in addresses(kubernetes, "app=dns") if (":" in one) == bool(family))
    answer, packets = capture(kubernetes.pod(name), f"http://{f'[{ip}]' if family else ip}/", last)
    assert answer in addresses(kubernetes, "app=web").values()
    return packets[0].target


@FAMILIES
def test_a_labelled_pod_asks_the_service_itself_and_another_one_a_backend(
    kubernetes: Kubernetes, labelled: str, family: int
) -> None:
    assert asked_first(kubernetes, labelled, family) == (services["web"]["addresses"][family], 80)
    control = client_on(kubernetes, kubernetes.workers[1])
    assert asked_first(kubernetes, control, family)[0] in addresses(kubernetes, "app=web")


def test_without_the_label_it_asks_a_backend_again(kubernetes: Kubernetes, bypassing: None) -> None:
    name = client_on(kubernetes, kubernetes.workers[0])
    assert not left_out(kubernetes)
    assert asked_first(kubernetes, name, 0)[0] in addresses(kubernetes, "app=web")


def test_a_pod_that_is_created_with_the_label_is_left_out_and_forgotten_with_it(
    kubernetes: Kubernetes, bypassing: None
) -> None:
    running = kubernetes.get("pod", client_on(kubernetes, kubernetes.workers[0]))
    (container, *_) = running["spec"]["containers"]
    spec = {
        "nodeName": kubernetes.workers[0],
        "terminationGracePeriodSeconds": 0,
        "containers": [{key: container[key] for key in ("name", "image", "command", "args") if key in container}],
    }
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "mesh", "labels": {LABEL: "true"}},
        "spec": spec,
    }
    with kubernetes.objects(document):
        kubernetes.kubectl("wait", "--for=condition=Ready", "pod/mesh", "--timeout=60s")
        until(lambda: [row["pod"] for row in left_out(kubernetes)] == ["default/mesh"], 30)
        assert asked_first(kubernetes, "mesh", 0) == (services["web"]["addresses"][0], 80)
    until(lambda: not left_out(kubernetes), 30)
