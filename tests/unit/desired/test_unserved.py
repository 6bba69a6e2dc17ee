"""What is there and serves nothing says why, in one line; what serves, or is only on its way, says nothing."""

import time
from typing import Any

import pytest

from socklb.api.source import Change
from socklb.desired.plan import Plan
from socklb.desired.store import ObjectStore
from tests.unit.agent.changing import Cluster
from tests.unit.agent.shapes import gone, present, the_service, the_slice

NODE_PORT = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 32000}]}
CHOOSE = "only an API server does that by itself"
SERVICES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "no clusterIP": (
        {"clusterIPs": []},
        {
            "spec.clusterIP": "missing, so nothing is served; valid: an address; None: headless; "
            f"next: choose an address: {CHOOSE}"
        },
    ),
    "a NodePort without a number": (
        {"type": "NodePort", "ports": [{"port": 80}]},
        {
            "spec.ports[0].nodePort": "missing, so port 80 is not served at nodes; valid: 1 to 65535; "
            f"next: choose a number: {CHOOSE}"
        },
    ),
    "some of a load balancer's ports without a number, in one line": (
        {
            "type": "LoadBalancer",
            "ports": [
                {"name": "", "port": 80, "nodePort": 32000},
                {"name": "t", "port": 81},
                {"name": "u", "port": 82, "protocol": "UDP"},
            ],
        },
        {
            "spec.ports[1].nodePort": "missing, so port 81, 82 is not served at nodes; valid: 1 to 65535; "
            f"next: choose a number: {CHOOSE}"
        },
    ),
    "another name": (
        {"ports": [{"port": 80, "name": "http"}]},
        {"spec.ports[0].name": "no port of its EndpointSlices is named 'http', so it is refused; valid: '', 't', 'u'"},
    ),
    "another protocol": (
        {"ports": [{"port": 80, "name": "t"}, {"port": 81, "name": "u"}]},
        {"spec.ports[1].name": "the port of its EndpointSlices named 'u' is not TCP ('UDP')"},
    ),
    "another family": (
        {"clusterIPs": ["fd00:10:96::a"]},
        {"spec.ipFamilies": "none of its EndpointSlices has addressType IPv6, so it is refused ('IPv4')"},
    ),
}
SILENT: dict[str, dict[str, Any]] = {
    "a ClusterIP": {},
    "a NodePort": NODE_PORT,
    "a NodePort without a ClusterIP": {**NODE_PORT, "clusterIPs": []},
    "a load balancer that wants no NodePorts": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False},
    "headless": {"clusterIPs": ["None"]},
    "headless, by the older field": {"clusterIPs": [], "clusterIP": "None"},
    "ExternalName": {"type": "ExternalName", "clusterIPs": [], "ports": []},
}
PORTS = [{"port": 8080}, {"name": "t", "port": 8081}, {"name": "u", "port": 8082, "protocol": "UDP"}]


def told(cluster: Cluster) -> dict[tuple[str, str], str]:
    return {(problem.object, problem.field): problem.message for problem in cluster.plan.problems}


@pytest.mark.parametrize(("spec", "expected"), SERVICES.values(), ids=SERVICES)
def test_a_service_says_why_it_serves_nothing(spec: dict[str, Any], expected: dict[str, str]) -> None:
    cluster = Cluster(the_service(**spec), the_slice(ports=PORTS))
    assert told(cluster) == {("Service/default/web", field): message for field, message in expected.items()}
    cluster.change(present(the_service(), the_slice()))
    assert told(cluster) == {}


@pytest.mark.parametrize("spec", SILENT.values(), ids=SILENT)
def test_a_service_that_is_as_it_should_be_says_nothing(spec: dict[str, Any]) -> None:
    assert told(Cluster(the_service(**spec), the_slice(ports=PORTS))) == {}


def test_a_mistake_that_both_families_have_is_told_once() -> None:
    service = the_service(clusterIPs=["10.96.0.10", "fd00:10:96::a"], ports=[{"port": 80, "name": "http"}])
    six = the_slice(name="six", addressType="IPv6", endpoints=[{"addresses": ["fd00::1"]}])
    assert len(told(Cluster(service, the_slice(), six))) == 1


def test_endpoints_that_are_not_there_yet_are_no_mistake() -> None:
    service = the_service(clusterIPs=["10.96.0.10", "fd00:10:96::a"])
    six = the_slice(name="six", addressType="IPv6", endpoints=[], ports=[])
    assert told(Cluster(service)) == {}
    assert told(Cluster(service, the_slice(endpoints=[], ports=[]))) == {}
    assert told(Cluster(service, the_slice(), six)) == {}


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        ([], "its EndpointSlices have no port, so it is refused; valid: one named ''"),
        ([{"protocol": "TCP"}], "the port of its EndpointSlices named '' has no number, so it is refused"),
    ],
)
def test_slices_whose_ports_say_nothing(ports: list[dict[str, Any]], message: str) -> None:
    cluster = Cluster(the_service(), the_slice(ports=ports))
    assert told(cluster) == {("Service/default/web", "spec.ports[0].name"): message}


LABEL = "metadata.labels[kubernetes.io/service-name]"


def test_slices_of_a_service_that_is_not_there_are_told_until_it_comes() -> None:
    cluster = Cluster(the_slice())
    assert told(cluster) == {
        ("EndpointSlice/default/web-ipv4", LABEL): "Service default/web is not there, so it serves nobody"
    }
    assert cluster.plan.services == {}
    cluster.change(present(the_service()))
    assert told(cluster) == {}
    cluster.change(gone(the_service()))
    assert len(told(cluster)) == 1
    cluster.change(gone(the_slice()))
    assert told(cluster) == {}


def test_a_slice_without_the_label_is_told_until_it_has_one() -> None:
    lost = the_slice(metadata={"name": "web-ipv4"})
    cluster = Cluster(the_service(), lost)
    assert told(cluster) == {
        ("EndpointSlice/default/web-ipv4", LABEL): "missing, so it serves nobody; valid: the name of its Service"
    }
    assert list(cluster.plan.services) == ["default/web"]
    cluster.change(present(the_slice()))
    assert told(cluster) == {}
    cluster.change(present(lost))
    assert len(told(cluster)) == 1
    cluster.change(gone(lost))
    assert told(cluster) == {}


def test_slices_that_a_controller_will_take_away_are_no_problem_where_one_is_at_work() -> None:
    labels = {"kubernetes.io/service-name": "web"}
    managed = {**labels, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
    slices = [the_slice(metadata={"name": name, "labels": one}) for name, one in (("a", labels), ("b", managed))]
    named = {}
    for controllers in (True, False):
        plan, state = Plan("w1", controllers=controllers), ObjectStore()
        plan.update(state, state.apply(present(*slices)))
        named[controllers] = [problem.object for problem in plan.problems]
    assert named == {
        True: ["EndpointSlice/default/a"],
        False: ["EndpointSlice/default/a", "EndpointSlice/default/b"],
    }


def test_one_change_among_thousands_that_serve_nothing_costs_less_than_a_millisecond() -> None:
    lost = [the_slice("gone", name=f"s{i}", metadata={"name": f"s{i}"}) for i in range(3000)]
    plan, state = Plan("w1"), ObjectStore()
    plan.update(state, state.apply(present(*lost, *(the_service(f"w{i}", clusterIPs=[]) for i in range(3000)))))
    changes = [[Change(one.kind, one.key, one)] for i in range(200) for one in (lost[i], the_service(f"w{i}"))]
    started = time.process_time()
    for change in changes:
        plan.update(state, state.apply(change))
    assert (time.process_time() - started) / len(changes) < 0.001
