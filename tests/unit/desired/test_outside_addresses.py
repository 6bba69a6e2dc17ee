"""Where a Service is asked for besides its ClusterIPs: externalIPs, a load balancer's addresses; and how."""

from typing import Any

import pytest

from socklb.api.addresses import Network
from socklb.desired.endpoints import Place
from socklb.desired.service_plan import Surroundings, plan_service
from socklb.model import Difference, frontend_text
from tests.unit.agent.changing import Cluster
from tests.unit.agent.shapes import details, endpoint, gone, present, readable, the_node, the_service, the_slice

AROUND = Surroundings(Place("w1"), (Network.parse("198.51.100.0/24"), Network.parse("2001:db8::/32")))
A = "10.244.1.2:8080"
CLUSTER_IP, INGRESS = "10.96.0.10:80/TCP", "192.0.2.1:80/TCP"
BALANCED: dict[str, Any] = {"type": "LoadBalancer", "ingress": "192.0.2.1"}
DUAL = {"clusterIPs": ["10.96.0.10", "fd00:10:96::a"]}


def served(**spec: Any) -> dict[str, dict[str, Any]]:
    """What stands at other addresses than ClusterIPs."""
    slices = [the_slice(), the_slice(name="v6", addressType="IPv6", endpoints=[endpoint("fd00::1")])]
    found = details(plan_service(the_service(**spec), slices, AROUND).frontends)
    return {frontend: how for frontend, how in found.items() if not frontend.startswith(("10.96", "[fd00:10:96"))}


class TestExternalIPs:
    def test_in_an_allowed_network_they_are_served(self) -> None:
        assert served(externalIPs=["198.51.100.7"]) == {"198.51.100.7:80/TCP": {"backends": [A]}}

    def test_leading_zeros_are_decimal(self) -> None:
        assert list(served(externalIPs=["198.051.100.007"])) == ["198.51.100.7:80/TCP"]

    @pytest.mark.parametrize(
        ("spec", "frontends"),
        [
            ({}, ["198.51.100.7:80/TCP"]),
            (DUAL, ["198.51.100.7:80/TCP", "[2001:db8::7]:80/TCP"]),
            ({"clusterIPs": ["fd00:10:96::a"]}, ["[2001:db8::7]:80/TCP"]),
            ({"clusterIPs": []}, ["198.51.100.7:80/TCP", "[2001:db8::7]:80/TCP"]),
            ({"clusterIPs": ["None"]}, []),
            ({"type": "ExternalName"}, []),
        ],
        ids=["IPv4", "dual stack", "IPv6", "no ClusterIP", "headless", "ExternalName"],
    )
    def test_families_are_those_of_the_service(self, spec: dict[str, Any], frontends: list[str]) -> None:
        assert list(served(**spec, externalIPs=["2001:db8::7", "198.51.100.7"])) == frontends

    def test_elsewhere_they_are_refused_and_named(self) -> None:
        plan = plan_service(the_service(externalIPs=["198.51.100.7", "10.96.0.1"]), [], AROUND)
        assert set(readable(plan.frontends)) == {CLUSTER_IP, "198.51.100.7:80/TCP"}
        (problem,) = plan.problems
        assert str(problem) == (
            "Service/default/web: spec.externalIPs[1]: not allowed and not served ('10.96.0.1'); "
            "valid: an address in 198.51.100.0/24, 2001:db8::/32; "
            "next: add it to external_ips in /etc/socklb/socklb.toml"
        )

    def test_without_configuration_none_is_served(self) -> None:
        plan = plan_service(the_service(externalIPs=["198.51.100.7"]), [], Surroundings(Place("w1")))
        assert list(readable(plan.frontends)) == [CLUSTER_IP]
        assert len(plan.problems) == 1

    def test_all_of_ipv6_allows_no_ipv4(self) -> None:
        around = Surroundings(Place("w1"), (Network.parse("::/0"),))
        assert list(readable(plan_service(the_service(externalIPs=["198.51.100.7"]), [], around).frontends)) == [
            CLUSTER_IP
        ]

    def test_the_problem_goes_with_its_cause(self) -> None:
        cluster = Cluster(the_service(externalIPs=["203.0.113.1"]))
        assert len(cluster.plan.problems) == 1
        cluster.change(present(the_service()))
        assert cluster.plan.problems == ()


class TestLoadBalancer:
    def test_its_address_is_served_with_and_without_node_ports(self) -> None:
        assert served(**BALANCED) == {INGRESS: {"backends": [A]}}
        both = served(**BALANCED, ports=[{"port": 80, "nodePort": 32000}])
        assert both == {INGRESS: {"backends": [A]}, "0.0.0.0:32000/TCP": {"backends": [A]}}

    @pytest.mark.parametrize(
        ("ingress", "frontends"),
        [
            ({"ip": "192.0.2.1", "ipMode": "VIP"}, [INGRESS]),
            ({"ip": "192.0.2.1", "ipMode": "Proxy"}, []),
            ({"hostname": "lb.example"}, []),
            ({"ip": "fd00::c", "ports": []}, []),
        ],
        ids=["ipMode VIP", "ipMode Proxy: it wants the traffic itself", "a hostname alone", "of another family"],
    )
    def test_what_its_status_says_decides(self, ingress: dict[str, Any], frontends: list[str]) -> None:
        assert list(served(type="LoadBalancer", ingress=(ingress,))) == frontends

    def test_an_address_left_over_from_another_type_is_not_served(self) -> None:
        assert served(type="ClusterIP", ingress="192.0.2.1") == {}

    def test_its_class_decides_nothing(self) -> None:
        assert served(**BALANCED, loadBalancerClass="example.com/lb") == served(**BALANCED)

    def test_the_address_comes_moves_and_goes_live(self) -> None:
        cluster = Cluster(the_service(type="LoadBalancer"), the_slice())
        assert set(cluster.frontends) == {CLUSTER_IP}
        assert set(readable(dict(cluster.change(present(the_service(**BALANCED))).put))) == {INGRESS}
        moved = cluster.change(present(the_service(type="LoadBalancer", ingress="192.0.2.2")))
        assert (set(readable(dict(moved.put))), texts(moved)) == ({"192.0.2.2:80/TCP"}, [INGRESS])
        assert texts(cluster.change(present(the_service(type="LoadBalancer")))) == ["192.0.2.2:80/TCP"]


class TestSourceRanges:
    @pytest.mark.parametrize(
        ("ranges", "sources"),
        [
            (["10.0.0.0/8"], ("10.0.0.0/8",)),
            ([" 10.1.2.0/28 "], ("10.1.2.0/28",)),
            (["10.1.2.3/8", "010.0.0.0/8"], ("10.0.0.0/8",)),
            (["0.0.0.0/0"], ("0.0.0.0/0",)),
            (["fd00::/8", "192.0.2.0/24"], ("192.0.2.0/24",)),
            (["fd00::/8"], ()),
        ],
        ids=["one", "spaces", "host bits, leading zeros, twice", "everybody", "both families", "none of the family"],
    )
    def test_they_limit_who_may_ask_at_the_load_balancers_address(
        self, ranges: list[str], sources: tuple[str, ...]
    ) -> None:
        assert served(**BALANCED, loadBalancerSourceRanges=ranges)[INGRESS] == {"backends": [A], "sources": sources}

    def test_they_limit_nothing_at_other_addresses(self) -> None:
        spec = {**BALANCED, "externalIPs": ["198.51.100.7"], "ports": [{"port": 80, "nodePort": 32000}]}
        found = served(**spec, loadBalancerSourceRanges=["10.0.0.0/8"])
        assert [frontend for frontend, how in found.items() if "sources" in how] == [INGRESS]

    def test_without_any_nobody_is_kept_out(self) -> None:
        assert "sources" not in served(**BALANCED, loadBalancerSourceRanges=[])[INGRESS]

    def test_with_them_sockets_leave_the_address_to_the_packet_path(self) -> None:
        cluster = Cluster(the_service(**BALANCED), the_slice())
        difference = cluster.change(present(the_service(**BALANCED, loadBalancerSourceRanges=["10.0.0.0/8"])))
        assert texts(difference.for_sockets()) == [INGRESS]
        assert set(readable(dict(difference.put))) == {INGRESS}


class TestAffinity:
    @pytest.mark.parametrize(
        ("spec", "seconds"),
        [
            ({"sessionAffinity": "ClientIP"}, 10800),
            ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {}}}, 10800),
            ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}, 60),
            ({"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}, 0),
            ({"sessionAffinity": "None"}, 0),
        ],
    )
    def test_it_is_at_every_frontend_of_the_service(self, spec: dict[str, Any], seconds: int) -> None:
        service = the_service(
            **BALANCED,
            **spec,
            externalIPs=["198.51.100.7"],
            externalTrafficPolicy="Local",
            ports=[{"port": 80, "nodePort": 32000}],
        )
        cluster = Cluster(
            *(the_node("w1", "172.18.0.3"), the_node("w2", "172.18.0.4")),
            *(service, the_slice(endpoints=[endpoint("10.1.1.2", "w2")])),
        )
        found = cluster.plan.full().frontends
        assert len(found) == 4
        assert {serving.affinity for serving in found.values()} == {seconds}

    def test_it_is_switched_on_and_off_live(self) -> None:
        cluster = Cluster(the_service(), the_slice())
        cluster.change(present(the_service(sessionAffinity="ClientIP")))
        assert cluster.details == {CLUSTER_IP: {"backends": [A], "affinity": 10800}}
        cluster.change(present(the_service(sessionAffinity="None")))
        assert cluster.details == {CLUSTER_IP: {"backends": [A]}}


class TestBalance:
    @staticmethod
    def annotated(value: str) -> dict[str, Any]:
        return {"metadata": {"annotations": {"socklb.io/balance": value}}}

    def test_least_loaded_is_asked_for_by_an_annotation_and_given_up_live(self) -> None:
        cluster = Cluster(the_service(**self.annotated("least-loaded")), the_slice())
        assert cluster.details == {CLUSTER_IP: {"backends": [A], "least_loaded": True}}
        cluster.change(present(the_service()))
        assert cluster.details == {CLUSTER_IP: {"backends": [A]}}

    def test_another_value_is_named_and_random_is_used(self) -> None:
        cluster = Cluster(the_service(**self.annotated("leastconn")), the_slice())
        assert cluster.details == {CLUSTER_IP: {"backends": [A]}}
        (problem,) = cluster.plan.problems
        assert str(problem) == (
            "Service/default/web: metadata.annotations[socklb.io/balance]: "
            "not known, so endpoints are taken at random ('leastconn'); valid: least-loaded"
        )

    def test_where_connections_cannot_be_counted_that_is_said(self) -> None:
        around = Surroundings(Place("w1"), counted=False)
        plan = plan_service(the_service(**self.annotated("least-loaded")), [the_slice()], around)
        (problem,) = plan.problems
        assert str(problem) == (
            "Service/default/web: metadata.annotations[socklb.io/balance]: "
            "connections are counted from Linux 5.12 on, so endpoints are taken at random"
        )
        assert plan_service(the_service(), [the_slice()], around).problems == ()


class TestAServerInTheNodesNetwork:
    """It may bind the very address and port that the Service is asked for at, also while it is not ready."""

    @pytest.mark.parametrize("ready", [True, False])
    @pytest.mark.parametrize(
        ("at", "number", "frontends"),
        [
            ("198.51.100.7", 80, {"198.51.100.7:80/TCP"}),
            ("192.0.2.1", 80, {INGRESS}),
            ("192.0.2.1", 8080, set[str]()),
            ("172.18.0.3", 32000, {"0.0.0.0:32000/TCP"}),
        ],
        ids=["external IP", "load balancer's address", "another port", "NodePort"],
    )
    def test_may_bind_there(self, at: str, number: int, frontends: set[str], ready: bool) -> None:
        service = the_service(**BALANCED, externalIPs=["198.51.100.7"], ports=[{"port": 80, "nodePort": 32000}])
        server = the_slice(endpoints=[endpoint(at, ready=ready)], ports=[{"port": number}])
        others = the_slice(name="others")
        found = plan_service(service, [server, others], AROUND).frontends
        assert {frontend_text(frontend) for frontend, how in found.items() if how.may_be_bound} == frontends


LOCAL: dict[str, Any] = {
    "type": "NodePort",
    "externalTrafficPolicy": "Local",
    "ports": [{"port": 80, "nodePort": 32000}],
}
CLUSTER = {**LOCAL, "externalTrafficPolicy": "Cluster", "clusterIPs": ["10.96.0.11"]}
NODE_PORT = "0.0.0.0:32000/TCP"


class TestContests:
    def cluster(self, first: dict[str, Any], second: dict[str, Any]) -> Cluster:
        """Services a with its endpoint 10.1.1.1 and b with 10.1.1.2, both on w2."""
        cluster = Cluster(the_service("a", **first), the_slice("a", endpoints=[endpoint("10.1.1.1", "w2")]))
        cluster.change(present(the_service("b", **second), the_slice("b", endpoints=[endpoint("10.1.1.2", "w2")])))
        return cluster

    @pytest.mark.parametrize(("first", "second"), [(LOCAL, CLUSTER), (CLUSTER, LOCAL), (LOCAL, LOCAL)])
    def test_a_node_port_of_either_policy_is_one_and_named_once(
        self, first: dict[str, Any], second: dict[str, Any]
    ) -> None:
        cluster = self.cluster({**first, "clusterIPs": []}, {**second, "clusterIPs": []})
        assert [(problem.object, problem.message) for problem in cluster.plan.problems] == [
            ("Service/default/b", f"{NODE_PORT} belongs to Service default/a")
        ]
        assert cluster.frontends[NODE_PORT] == ["10.1.1.1:8080"]

    def test_who_lets_go_of_a_node_port_leaves_it_to_the_next_and_his_policy(self) -> None:
        cluster = self.cluster(CLUSTER, LOCAL)
        cluster.change(gone(the_service("a", **CLUSTER)))
        assert cluster.details[NODE_PORT] == {"backends": ["10.1.1.2:8080"], "outside": [], "own_node_only": True}

    def test_a_load_balancers_address_that_is_anothers_external_ip(self) -> None:
        balanced = {
            "type": "LoadBalancer",
            "ingress": "198.51.100.7",
            "clusterIPs": ["10.96.0.11"],
            "allocateLoadBalancerNodePorts": False,
        }
        cluster = self.cluster({"externalIPs": ["198.51.100.7"]}, balanced)
        assert cluster.frontends["198.51.100.7:80/TCP"] == ["10.1.1.1:8080"]
        assert [(problem.object, problem.message) for problem in cluster.plan.problems] == [
            ("Service/default/b", "198.51.100.7:80/TCP belongs to Service default/a")
        ]


def texts(difference: Difference) -> list[str]:
    return sorted(map(frontend_text, difference.delete))
