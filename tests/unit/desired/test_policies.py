"""Which endpoints are chosen for a Service port, on the node w1 in zone a; w2 is in zone b."""

from typing import Any

import pytest

from socklb.api.addresses import Network
from socklb.desired.endpoints import Place
from socklb.desired.service_plan import Surroundings, plan_service
from socklb.model import Frontend, Serving
from tests.unit.agent.shapes import details, endpoint, readable, the_service, the_slice

AROUND = Surroundings(Place("w1", "a"), (Network.parse("192.0.2.0/24"),))
CLUSTER_IP, NODE_PORT = "10.96.0.10:80/TCP", "0.0.0.0:32000/TCP"
TERMINATING = {"ready": False, "serving": True, "terminating": True}
GONE = {"ready": False, "serving": False, "terminating": True}
A, B, C = "10.1.1.1", "10.1.1.2", "10.1.1.3"

CONDITIONS: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "ready endpoints": ([endpoint(A, ready=True), endpoint(B, ready=True)], [A, B]),
    "nothing said is ready": ([endpoint(A)], [A]),
    "not ready": ([endpoint(A, ready=False)], []),
    "serving but not ready and not terminating": ([endpoint(A, ready=False, serving=True)], []),
    "ready before terminating ones": ([endpoint(A, **TERMINATING), endpoint(B)], [B]),
    "terminating ones that serve, where none is ready": ([endpoint(A, **TERMINATING), endpoint(B, ready=False)], [A]),
    "terminating ones that do not serve": ([endpoint(A, **GONE)], []),
    "terminating, serving not said: as ready says": ([endpoint(A, ready=False, terminating=True)], []),
    # publishNotReadyAddresses: the controller publishes ready, whatever the pod's state; that is all.
    "published though not ready": ([endpoint(A, ready=True, serving=False), endpoint(B, **TERMINATING)], [A]),
    "published though terminating": ([endpoint(A, ready=True, serving=True, terminating=True), endpoint(B)], [A, B]),
}
TOPOLOGY: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "the same zone": ([endpoint(A, zones=("a",)), endpoint(B, zones=("b",))], [A]),
    "a zone that another's endpoints serve too": ([endpoint(A, zones=("b", "a")), endpoint(B, zones=("b",))], [A]),
    "nobody in our zone: all": ([endpoint(A, zones=("b",)), endpoint(B, zones=("c",))], [A, B]),
    "one ready without a hint: all": ([endpoint(A, zones=("a",)), endpoint(B)], [A, B]),
    "not ready without a hint: the hints count": (
        [endpoint(A, zones=("a",)), endpoint(B, zones=("b",)), endpoint(C, ready=False)],
        [A],
    ),
    "terminating without a hint: the hints count": (
        [endpoint(A, zones=("a",)), endpoint(B, zones=("b",)), endpoint(C, **TERMINATING)],
        [A],
    ),
    "only terminating in our zone: those ready elsewhere": (
        [endpoint(A, zones=("a",), **TERMINATING), endpoint(B, zones=("b",))],
        [B],
    ),
    "all terminating: whatever their hints": (
        [endpoint(A, zones=("a",), **TERMINATING), endpoint(B, zones=("b",), **TERMINATING)],
        [A, B],
    ),
    "the same node": ([endpoint(A, nodes=("w1",)), endpoint(B, nodes=("w2",))], [A]),
    "the same node before the same zone": (
        [endpoint(A, nodes=("w1",), zones=("a",)), endpoint(B, nodes=("w2",), zones=("a",))],
        [A],
    ),
    "nobody on our node: the same zone": (
        [endpoint(A, nodes=("w2",), zones=("a",)), endpoint(B, nodes=("w3",), zones=("b",))],
        [A],
    ),
    "one without a hint for nodes: the same zone": (
        [endpoint(A, nodes=("w1",), zones=("b",)), endpoint(B, zones=("a",))],
        [B],
    ),
    "nobody on our node or in our zone: all": (
        [endpoint(A, nodes=("w2",), zones=("b",)), endpoint(B, nodes=("w3",), zones=("b",))],
        [A, B],
    ),
    "hints count, not where endpoints are": (
        [endpoint(A, "w1", zones=("b",)), endpoint(B, "w2", zones=("a",))],
        [B],
    ),
}
LOCAL: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "each node its own": ([endpoint(A, "w1"), endpoint(B, "w2")], [A]),
    "none on our node": ([endpoint(A, "w2")], []),
    "none on the other": ([endpoint(A, "w1"), endpoint(B, "w1")], [A, B]),
    "none at all": ([], []),
    "of no node": ([endpoint(A)], []),
    "not ready": ([endpoint(A, "w1", ready=False), endpoint(B, "w2")], []),
    "terminating where none is ready, node by node": (
        [endpoint(A, "w1", **TERMINATING), endpoint(B, "w2"), endpoint(C, "w2", **TERMINATING)],
        [A],
    ),
    "hints for zones do not count": (
        [endpoint(A, "w1", zones=("b",)), endpoint(B, "w2", zones=("a",))],
        [A],
    ),
    "hints for nodes do not count": (
        [endpoint(A, "w1", nodes=("w2",)), endpoint(B, "w2", nodes=("w1",))],
        [A],
    ),
}


def plan(endpoints: list[dict[str, Any]], **spec: Any) -> dict[Frontend, Serving]:
    service = the_service(type="NodePort", ports=[{"port": 80, "nodePort": 32000}], **spec)
    return plan_service(service, [the_slice(endpoints=endpoints)], AROUND).frontends


def served(endpoints: list[dict[str, Any]], **spec: Any) -> dict[str, list[str]]:
    """Addresses of backends by frontend."""
    return {frontend: _hosts(found) for frontend, found in readable(plan(endpoints, **spec)).items()}


def _hosts(backends: list[str]) -> list[str]:
    return [backend.removesuffix(":8080") for backend in backends]


@pytest.mark.parametrize(("endpoints", "chosen"), CONDITIONS.values(), ids=CONDITIONS)
def test_conditions_choose(endpoints: list[dict[str, Any]], chosen: list[str]) -> None:
    assert served(endpoints) == {CLUSTER_IP: chosen, NODE_PORT: chosen}


@pytest.mark.parametrize(("endpoints", "chosen"), TOPOLOGY.values(), ids=TOPOLOGY)
def test_hints_choose(endpoints: list[dict[str, Any]], chosen: list[str]) -> None:
    assert served(endpoints) == {CLUSTER_IP: chosen, NODE_PORT: chosen}


@pytest.mark.parametrize(("endpoints", "on_w1"), LOCAL.values(), ids=LOCAL)
class TestLocal:
    def test_internal_traffic_policy_chooses_on_our_node(
        self, endpoints: list[dict[str, Any]], on_w1: list[str]
    ) -> None:
        assert served(endpoints, internalTrafficPolicy="Local")[CLUSTER_IP] == on_w1

    def test_external_traffic_policy_chooses_on_our_node_for_clients_from_outside(
        self, endpoints: list[dict[str, Any]], on_w1: list[str]
    ) -> None:
        found = details(plan(endpoints, externalTrafficPolicy="Local"))[NODE_PORT]
        assert (_hosts(found["outside"]), found["own_node_only"]) == (on_w1, True)

    def test_external_traffic_policy_lets_pods_and_processes_of_the_node_ask_any(
        self, endpoints: list[dict[str, Any]], on_w1: list[str]
    ) -> None:
        found = served(endpoints, externalTrafficPolicy="Local")
        assert found == {CLUSTER_IP: found[CLUSTER_IP], NODE_PORT: found[CLUSTER_IP]}
        assert found[CLUSTER_IP] == served(endpoints)[NODE_PORT]


def test_the_policies_are_independent_of_each_other() -> None:
    endpoints = [endpoint(A, "w1"), endpoint(B, "w2")]
    assert served(endpoints, internalTrafficPolicy="Local") == {CLUSTER_IP: [A], NODE_PORT: [A, B]}
    assert served(endpoints, externalTrafficPolicy="Local") == {CLUSTER_IP: [A, B], NODE_PORT: [A, B]}
    both = served(endpoints, internalTrafficPolicy="Local", externalTrafficPolicy="Local")
    assert both == {CLUSTER_IP: [A], NODE_PORT: [A, B]}


def test_a_node_without_a_zone_is_in_none() -> None:
    service, slice_ = the_service(), the_slice(endpoints=[endpoint(A, zones=("a",)), endpoint(B, zones=("b",))])
    found = plan_service(service, [slice_], Surroundings(Place("w1"))).frontends
    assert readable(found) == {CLUSTER_IP: [f"{A}:8080", f"{B}:8080"]}


@pytest.mark.parametrize("spec", [{"externalIPs": ["192.0.2.1"]}, {"type": "LoadBalancer", "ingress": "192.0.2.1"}])
def test_external_traffic_policy_counts_at_addresses_that_are_no_nodes_too(spec: dict[str, Any]) -> None:
    service = the_service(externalTrafficPolicy="Local", **spec)
    slice_ = the_slice(endpoints=[endpoint(A, "w1"), endpoint(B, "w2")])
    found = details(plan_service(service, [slice_], AROUND).frontends)
    assert found["192.0.2.1:80/TCP"] == {"backends": [f"{A}:8080", f"{B}:8080"], "outside": [f"{A}:8080"]}
    assert found[CLUSTER_IP] == {"backends": [f"{A}:8080", f"{B}:8080"]}
