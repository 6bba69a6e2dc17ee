"""Services, Nodes and policies that change while they are served. The plan is w1's."""

from typing import Any

import pytest

from socklb.desired import plan
from socklb.model import Addresses, frontend_text
from tests.unit.agent.changing import NO_CHANGE, Cluster
from tests.unit.agent.shapes import endpoint, gone, packed, present, readable, the_node, the_service, the_slice

A, B = "10.1.1.1:8080", "10.1.1.2:8080"
CLUSTER_IP, NODE_PORT = "10.96.0.10:80/TCP", "0.0.0.0:32000/TCP"
INGRESS = "192.0.2.1:80/TCP"
W1, W2 = the_node("w1", "172.18.0.3", zone="a"), the_node("w2", "172.18.0.4", zone="b")
PORTS = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 32000}]}
LOCAL = {**PORTS, "externalTrafficPolicy": "Local"}
ONE_EACH = the_slice(endpoints=[endpoint("10.1.1.1", "w1"), endpoint("10.1.1.2", "w2")])
ZONED = the_slice(endpoints=[endpoint("10.1.1.1", zones=("a",)), endpoint("10.1.1.2", zones=("b",))])

STEPS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "ClusterIP": ({}, {CLUSTER_IP}),
    "ExternalName": ({"type": "ExternalName"}, set()),
    "NodePort": (PORTS, {CLUSTER_IP, NODE_PORT}),
    "NodePort, Local": (LOCAL, {CLUSTER_IP, NODE_PORT}),
    "LoadBalancer": ({**PORTS, "type": "LoadBalancer", "ingress": "192.0.2.1"}, {CLUSTER_IP, NODE_PORT, INGRESS}),
    "an ingress address left over": ({**PORTS, "ingress": "192.0.2.1"}, {CLUSTER_IP, NODE_PORT}),
    "an external IP": ({"externalIPs": ["198.51.100.1"]}, {CLUSTER_IP, "198.51.100.1:80/TCP"}),
    "another node port": ({**PORTS, "ports": [{"port": 80, "nodePort": 32001}]}, {CLUSTER_IP, "0.0.0.0:32001/TCP"}),
    "another port": ({"ports": [{"port": 81}]}, {"10.96.0.10:81/TCP"}),
    "a port more": (
        {"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]},
        {CLUSTER_IP, "10.96.0.10:81/TCP"},
    ),
    "TCP and UDP on one number": (
        {"ports": [{"port": 80, "name": "t"}, {"port": 80, "name": "u", "protocol": "UDP"}]},
        {CLUSTER_IP, "10.96.0.10:80/UDP"},
    ),
    "dual stack": ({"clusterIPs": ["10.96.0.10", "fd00::a"]}, {CLUSTER_IP, "[fd00::a]:80/TCP"}),
    "another protocol": ({"ports": [{"port": 80, "protocol": "UDP"}]}, {"10.96.0.10:80/UDP"}),
    "headless": ({"clusterIPs": ["None"]}, set()),
    "another address": ({"clusterIPs": ["10.96.0.11"]}, {"10.96.0.11:80/TCP"}),
    "another proxy's": ({"metadata": {"labels": {"service.kubernetes.io/service-proxy-name": "x"}}}, set()),
    "headless by label": ({"metadata": {"labels": {"service.kubernetes.io/headless": ""}}}, set()),
}


@pytest.mark.parametrize(("spec", "frontends"), STEPS.values(), ids=STEPS)
@pytest.mark.parametrize(("first", "first_frontends"), STEPS.values(), ids=STEPS)
def test_a_service_becomes_any_other_and_back(
    first: dict[str, Any], first_frontends: set[str], spec: dict[str, Any], frontends: set[str]
) -> None:
    cluster = Cluster(W1, W2, ONE_EACH, the_service(**first))
    assert set(cluster.frontends) == first_frontends
    cluster.change(present(the_service(**spec)))
    assert set(cluster.frontends) == frontends
    cluster.change(present(the_service(**first)))
    assert set(cluster.frontends) == first_frontends


class TestAClusterIPIsReusedAtOnce:
    @pytest.mark.parametrize("new", ["a", "z"])  # before and after the old one by name
    def test_in_the_same_batch(self, new: str) -> None:
        cluster = Cluster(the_service("m"), the_slice("m"))
        newcomer = the_slice(new, endpoints=[endpoint("10.1.1.1")])
        difference = cluster.change(gone(the_service("m"), the_slice("m")), present(the_service(new), newcomer))
        assert readable(dict(difference.put)) == {CLUSTER_IP: [A]}
        assert difference == NO_CHANGE._replace(put=difference.put)

    @pytest.mark.parametrize("new", ["a", "z"])
    def test_in_the_same_batch_with_the_new_one_first(self, new: str) -> None:
        cluster = Cluster(the_service("m"), the_slice("m"))
        newcomer = the_slice(new, endpoints=[endpoint("10.1.1.1")])
        difference = cluster.change(present(the_service(new), newcomer), gone(the_service("m"), the_slice("m")))
        assert readable(dict(difference.put)) == {CLUSTER_IP: [A]}
        assert cluster.plan.problems == ()

    def test_in_the_next_batch(self) -> None:
        cluster = Cluster(the_service("m"), the_slice("m"))
        assert cluster.change(gone(the_service("m"))).remove.services == packed("10.96.0.10")
        difference = cluster.change(present(the_service("a"), the_slice("a", endpoints=[endpoint("10.1.1.1")])))
        assert readable(dict(difference.put)) == {CLUSTER_IP: [A]}
        assert difference.add.services == packed("10.96.0.10")

    def test_by_a_service_on_another_port(self) -> None:
        cluster = Cluster(the_service("m"), the_slice("m"))
        other = the_service("a", ports=[{"port": 81}])
        difference = cluster.change(gone(the_service("m")), present(other, the_slice("a")))
        assert readable(dict(difference.put)) == {"10.96.0.10:81/TCP": ["10.244.1.2:8080"]}
        assert [*map(frontend_text, difference.delete)] == [CLUSTER_IP]
        assert (difference.add.services, difference.remove.services) == (frozenset(), frozenset())


class TestExternalTrafficPolicyLocal:
    def test_a_node_that_comes_moves_and_goes_is_an_address_and_no_frontend(self) -> None:
        cluster = Cluster(W1, ONE_EACH, the_service(**LOCAL))
        assert cluster.change(present(W2)) == NO_CHANGE._replace(add=Addresses(nodes=packed("172.18.0.4")))
        moved = cluster.change(present(the_node("w2", "172.18.0.9")))
        assert (moved.put, moved.delete, moved.add.nodes) == ({}, frozenset(), packed("172.18.0.9"))
        assert cluster.change(gone(W2)) == NO_CHANGE._replace(remove=Addresses(nodes=packed("172.18.0.9")))

    def test_our_own_node_changes_its_address(self) -> None:
        cluster = Cluster(W1, W2, ONE_EACH, the_service(**LOCAL))
        difference = cluster.change(present(the_node("w1", "172.18.0.9")))
        assert (difference.put, difference.delete) == ({}, frozenset())
        assert (difference.add.own, difference.remove.own) == (packed("172.18.0.9"), packed("172.18.0.3"))

    def test_the_last_endpoint_of_our_own_node_that_goes_leaves_nobody_for_clients_from_outside(self) -> None:
        cluster = Cluster(W1, W2, ONE_EACH, the_service(**LOCAL))
        cluster.change(present(the_slice(endpoints=[endpoint("10.1.1.2", "w2")])))
        assert cluster.details[NODE_PORT] == {"backends": [B], "outside": [], "own_node_only": True}

    def test_a_node_that_says_the_same_again_makes_no_difference(self) -> None:
        cluster = Cluster(W1, W2, ONE_EACH, the_service(**LOCAL))
        assert cluster.change(present(the_node("w2", "172.18.0.4", zone="c"))) == NO_CHANGE


class TestZones:
    def test_the_own_nodes_zone_comes_changes_and_goes(self) -> None:
        cluster = Cluster(ZONED, the_service())
        assert cluster.frontends == {CLUSTER_IP: [A, B]}
        cluster.change(present(W1))
        assert cluster.frontends == {CLUSTER_IP: [A]}
        cluster.change(present(the_node("w1", "172.18.0.3", zone="b")))
        assert cluster.frontends == {CLUSTER_IP: [B]}
        cluster.change(gone(W1))
        assert cluster.frontends == {CLUSTER_IP: [A, B]}

    def test_a_first_endpoint_that_is_not_ready_and_has_no_hint_hides_nothing(self) -> None:
        zoned = [endpoint("10.1.1.1", zones=("a",)), endpoint("10.1.1.2", zones=("b",))]
        cluster = Cluster(W1, the_slice(endpoints=[endpoint("10.1.1.9", ready=False), *zoned]), the_service())
        cluster.change(present(the_node("w1", "172.18.0.3", zone="b")))
        assert cluster.frontends == {CLUSTER_IP: [B]}

    def test_another_nodes_zone_makes_no_difference(self) -> None:
        cluster = Cluster(W1, W2, ZONED, the_service())
        assert cluster.change(present(the_node("w2", "172.18.0.4", zone="a"))) == NO_CHANGE

    def test_hints_come_and_go(self) -> None:
        cluster = Cluster(W1, the_service())
        cluster.change(present(ZONED))
        assert cluster.frontends == {CLUSTER_IP: [A]}
        cluster.change(present(ONE_EACH))
        assert cluster.frontends == {CLUSTER_IP: [A, B]}


def test_a_change_of_nodes_is_about_the_services_that_depend_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted at the door of `plan_service`: what a change costs is how often it is called."""
    cluster = Cluster(
        *(W1, W2, the_service("plain"), the_slice("plain")),
        *(the_service("local", **LOCAL, clusterIPs=["10.96.0.11"]), the_slice("local")),
        *(
            the_service("zoned", clusterIPs=["10.96.0.12"]),
            the_slice("zoned", endpoints=[endpoint("1.1.1.1", zones=("a",))]),
        ),
    )
    planned: list[str] = []
    real = plan.plan_service
    monkeypatch.setattr(plan, "plan_service", lambda s, *rest: planned.append(s.metadata.name) or real(s, *rest))

    def about(*nodes: Any) -> list[str]:
        planned.clear()
        cluster.plan.update(cluster.state, cluster.state.apply(present(*nodes)))
        return planned

    assert about(the_node("w2", "172.18.0.9", zone="b")) == []
    assert about(the_node("w2", "172.18.0.9", zone="c")) == []
    assert about(the_node("w1", "172.18.0.3", zone="c")) == ["zoned"]
