"""The tables that should be, per Service, and the difference that a change makes."""

from typing import Any

import pytest

from socklb.desired.endpoints import Place
from socklb.desired.service_plan import Surroundings, plan_node, plan_service
from socklb.model import Addresses, frontend_text
from tests.unit.agent.changing import NO_CHANGE, Cluster
from tests.unit.agent.shapes import gone, packed, present, readable, the_node, the_service, the_slice

ANYWHERE = Surroundings(Place("w1"))
V6 = {"addressType": "IPv6", "endpoints": [{"addresses": ["fd00::1"]}]}
NODE_PORT = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 32000}]}
PLANNED: dict[str, tuple[dict[str, Any], dict[str, list[str]]]] = {
    "ClusterIP": ({}, {"10.96.0.10:80/TCP": ["10.244.1.2:8080"]}),
    "NodePort, and its ClusterIP": (
        {**NODE_PORT, "ipFamilies": ["IPv4"]},
        {"10.96.0.10:80/TCP": ["10.244.1.2:8080"], "0.0.0.0:32000/TCP": ["10.244.1.2:8080"]},
    ),
    "NodePort of both families": (
        {**NODE_PORT, "clusterIPs": ["10.96.0.10", "fd00:10:96::a"], "ipFamilies": ["IPv4", "IPv6"]},
        {
            "10.96.0.10:80/TCP": ["10.244.1.2:8080"],
            "0.0.0.0:32000/TCP": ["10.244.1.2:8080"],
            "[fd00:10:96::a]:80/TCP": ["[fd00::1]:8080"],
            "[::]:32000/TCP": ["[fd00::1]:8080"],
        },
    ),
    "NodePort of families that are not said: those of its ClusterIPs": (
        {**NODE_PORT, "clusterIPs": ["fd00:10:96::a"]},
        {"[fd00:10:96::a]:80/TCP": ["[fd00::1]:8080"], "[::]:32000/TCP": ["[fd00::1]:8080"]},
    ),
    "NodePort without a ClusterIP": (
        {**NODE_PORT, "clusterIPs": []},
        {"0.0.0.0:32000/TCP": ["10.244.1.2:8080"]},
    ),
    "LoadBalancer: as NodePort": (
        {**NODE_PORT, "type": "LoadBalancer", "clusterIPs": []},
        {"0.0.0.0:32000/TCP": ["10.244.1.2:8080"]},
    ),
    "a left-over nodePort of a ClusterIP Service": (
        {**NODE_PORT, "type": "ClusterIP"},
        {"10.96.0.10:80/TCP": ["10.244.1.2:8080"]},
    ),
    "the same port by TCP and UDP": (
        {"ports": [{"port": 53, "name": "t"}, {"port": 53, "name": "u", "protocol": "UDP"}]},
        {"10.96.0.10:53/TCP": ["10.244.1.2:1053"], "10.96.0.10:53/UDP": ["10.244.1.2:1153"]},
    ),
    "no endpoints: a frontend without backends": (
        {"ports": [{"port": 80, "name": "nobody"}]},
        {"10.96.0.10:80/TCP": []},
    ),
    "SCTP": ({"ports": [{"port": 80, "protocol": "SCTP"}]}, {"10.96.0.10:80/SCTP": []}),
    "ExternalName: nothing, in spite of a ClusterIP": ({"type": "ExternalName"}, {}),
    "headless: nothing": ({"clusterIPs": ["None"]}, {}),
    "leading zeros": ({"clusterIPs": ["010.096.000.010"]}, {"10.96.0.10:80/TCP": ["10.244.1.2:8080"]}),
}


@pytest.mark.parametrize(("spec", "frontends"), PLANNED.values(), ids=PLANNED)
def test_what_a_service_asks_for(spec: dict[str, Any], frontends: dict[str, list[str]]) -> None:
    ports = [{"port": 8080}, {"name": "t", "port": 1053}, {"name": "u", "port": 1153, "protocol": "UDP"}]
    slices = [the_slice(ports=ports), the_slice(name="v6", ports=ports, **V6)]
    assert readable(plan_service(the_service(**spec), slices, ANYWHERE).frontends) == frontends


def test_a_service_without_a_selector_has_the_endpoints_that_somebody_wrote() -> None:
    selected = plan_service(the_service(selector={"app": "web"}), [the_slice()], ANYWHERE)
    assert plan_service(the_service(), [the_slice()], ANYWHERE) == selected


def test_the_cluster_ips_are_known_addresses() -> None:
    dual = the_service(clusterIPs=["10.96.0.10", "fd00:10:96::a"])
    assert plan_service(dual, [], ANYWHERE).addresses == packed("10.96.0.10", "fd00:10:96::a")


@pytest.mark.parametrize("label", ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"])
def test_a_service_of_another_proxy_is_left_alone_while_it_has_the_label(label: str) -> None:
    ours, theirs = the_service(), the_service(metadata={"labels": {label: ""}})
    cluster = Cluster(ours, the_slice())
    assert len(cluster.change(present(theirs)).delete) == 1
    assert cluster.plan.full().addresses == Addresses()
    assert len(cluster.change(present(ours)).put) == 1


def test_a_node_is_asked_at_its_internal_and_external_addresses() -> None:
    assert plan_node(the_node("w1", "172.18.0.3", "fd00::3")) == packed("172.18.0.3", "fd00::3")
    assert plan_node(the_node("w1", "192.0.2.1", kind="ExternalIP")) == packed("192.0.2.1")
    assert plan_node(the_node("w1", "w1.example", kind="Hostname")) == frozenset()


def test_the_first_objects_are_all_new() -> None:
    cluster = Cluster()
    difference = cluster.change(present(the_service(), the_slice(), the_node("w1", "172.18.0.3")))
    assert readable(dict(difference.put)) == {"10.96.0.10:80/TCP": ["10.244.1.2:8080"]}
    assert difference.add.services == packed("10.96.0.10")
    assert difference.add.nodes == packed("172.18.0.3")


def test_what_says_the_same_makes_no_difference() -> None:
    two = [{"addresses": ["10.1.1.1"]}, {"addresses": ["10.1.1.2"]}]
    cluster = Cluster(the_service(), the_slice(endpoints=two), the_node("w1", "172.18.0.3"))
    same = (the_service(), the_slice(endpoints=two[::-1], generation=2), the_node("w1", "172.18.0.3"))
    assert cluster.change(present(*same)) == NO_CHANGE


def test_an_endpoint_more_changes_its_own_frontends_only() -> None:
    other = [the_service("shop", clusterIPs=["10.96.0.11"]), the_slice("shop")]
    cluster = Cluster(the_service(), the_slice(), *other)
    grown = the_slice(endpoints=[{"addresses": ["10.244.1.2"]}, {"addresses": ["10.244.2.2"]}])
    difference = cluster.change(present(grown))
    assert readable(dict(difference.put)) == {"10.96.0.10:80/TCP": ["10.244.1.2:8080", "10.244.2.2:8080"]}
    assert difference == NO_CHANGE._replace(put=difference.put)


def test_the_last_endpoint_that_goes_leaves_the_frontend_to_refuse() -> None:
    cluster = Cluster(the_service(), the_slice())
    difference = cluster.change(gone(the_slice()))
    assert readable(dict(difference.put)) == {"10.96.0.10:80/TCP": []}
    assert difference.delete == frozenset()


def test_a_port_that_goes_is_deleted_and_its_address_stays() -> None:
    both = the_service(ports=[{"port": 80, "name": "a"}, {"port": 81, "name": "b"}])
    cluster = Cluster(both, the_slice())
    difference = cluster.change(present(the_service(ports=[{"port": 80, "name": "a"}])))
    assert [*map(frontend_text, difference.delete)] == ["10.96.0.10:81/TCP"]
    assert difference == NO_CHANGE._replace(delete=difference.delete)


def test_a_service_that_goes_takes_frontends_and_addresses_along() -> None:
    cluster = Cluster(the_service(**NODE_PORT), the_slice())
    difference = cluster.change(gone(the_service()))
    assert len(difference.delete) == 2
    assert difference.remove.services == packed("10.96.0.10")
    assert cluster.plan.full() == ({}, Addresses())
    assert cluster.plan.services == {}


def test_a_service_that_changes_its_type_to_external_name_and_back() -> None:
    cluster = Cluster(the_service(), the_slice())
    assert len(cluster.change(present(the_service(type="ExternalName"))).delete) == 1
    assert len(cluster.change(present(the_service())).put) == 1


def test_an_address_stays_while_one_service_or_node_has_it() -> None:
    a, b = the_service("a", ports=[{"port": 80}]), the_service("b", ports=[{"port": 81}])
    cluster = Cluster(a, b, the_node("w2", "172.18.0.3"), the_node("w3", "172.18.0.3"))
    assert cluster.change(gone(a)).remove.services == frozenset()
    assert cluster.change(gone(b)).remove.services == packed("10.96.0.10")
    assert cluster.change(gone(the_node("w2"))) == NO_CHANGE
    assert cluster.change(gone(the_node("w3"))).remove.nodes == packed("172.18.0.3")


def test_a_node_that_changes_its_address() -> None:
    cluster = Cluster(the_node("w2", "172.18.0.3", "fd00::3"))
    difference = cluster.change(present(the_node("w2", "172.18.0.3", "fd00::4")))
    assert difference == NO_CHANGE._replace(
        add=Addresses(nodes=packed("fd00::4")), remove=Addresses(nodes=packed("fd00::3"))
    )


def test_an_address_that_moves_between_services_in_one_batch_makes_no_difference() -> None:
    cluster = Cluster(the_service("a"))
    assert cluster.change(gone(the_service("a")), present(the_service("b"))) == NO_CHANGE
    assert list(cluster.plan.services) == ["default/b"]


class TestTwoServicesClaimOneFrontend:
    def test_the_one_that_had_it_keeps_it(self) -> None:
        cluster = Cluster(the_service("b"), the_slice("b"))
        newcomer = the_slice("a", endpoints=[{"addresses": ["10.9.9.9"]}])
        assert cluster.change(present(the_service("a"), newcomer)) == NO_CHANGE

    def test_the_other_is_reported(self) -> None:
        cluster = Cluster(the_service("b"))
        cluster.change(present(the_service("a")))
        (problem,) = cluster.plan.problems
        assert (problem.object, problem.field) == ("Service/default/a", "spec.ports")
        assert problem.message == "10.96.0.10:80/TCP belongs to Service default/b"

    def test_the_other_gets_it_when_the_first_lets_go(self) -> None:
        cluster = Cluster(the_service("b"), the_slice("b"))
        cluster.change(present(the_service("a"), the_slice("a", endpoints=[{"addresses": ["10.9.9.9"]}])))
        difference = cluster.change(gone(the_service("b"), the_slice("b")))
        assert readable(dict(difference.put)) == {"10.96.0.10:80/TCP": ["10.9.9.9:8080"]}
        assert difference.delete == frozenset()
        assert cluster.plan.problems == ()

    def test_what_happens_to_the_waiting_one_makes_no_difference(self) -> None:
        cluster = Cluster(the_service("b"), the_slice("b"))
        cluster.change(present(the_service("a"), the_slice("a")))
        assert cluster.change(present(the_slice("a", endpoints=[{"addresses": ["10.9.9.9"]}]))) == NO_CHANGE
        assert cluster.change(gone(the_service("a"), the_slice("a"))) == NO_CHANGE
        assert cluster.plan.problems == ()

    def test_the_first_one_goes_on_changing(self) -> None:
        cluster = Cluster(the_service("b"), the_slice("b"))
        cluster.change(present(the_service("a"), the_slice("a")))
        difference = cluster.change(present(the_slice("b", endpoints=[{"addresses": ["10.9.9.9"]}])))
        assert readable(dict(difference.put)) == {"10.96.0.10:80/TCP": ["10.9.9.9:8080"]}

    def test_both_new_in_one_batch_the_first_by_name_has_it(self) -> None:
        cluster = Cluster(the_service("b"), the_service("a"))
        assert [problem.object for problem in cluster.plan.problems] == ["Service/default/b"]

    def test_a_node_port_is_claimed_like_any_other(self) -> None:
        cluster = Cluster(the_service("a", **NODE_PORT), the_service("b", **NODE_PORT, clusterIPs=["10.96.0.11"]))
        assert [problem.message for problem in cluster.plan.problems] == [
            "0.0.0.0:32000/TCP belongs to Service default/a"
        ]

    def test_three_wait_in_the_order_they_came(self) -> None:
        cluster = Cluster(the_service("c"))
        cluster.change(present(the_service("b")))
        cluster.change(present(the_service("a")))
        cluster.change(gone(the_service("c")))
        assert [problem.object for problem in cluster.plan.problems] == ["Service/default/a"]


def test_the_addresses_of_our_own_node_are_told_apart() -> None:
    cluster = Cluster(the_node("w1", "172.18.0.3"), the_node("w2", "172.18.0.4"))
    assert cluster.plan.full().addresses.own == packed("172.18.0.3")
    difference = cluster.change(present(the_node("w1", "172.18.0.5")))
    assert (difference.add.own, difference.remove.own) == (packed("172.18.0.5"), packed("172.18.0.3"))
