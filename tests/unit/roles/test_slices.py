"""roles/workload/slices.py: EndpointSlices from the pods that there are."""

from typing import Any

import yaml

from roles.workload.slices import Endpoint, endpoint_slices

SERVICES = {
    "web": {"ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}]},
    "empty": {"ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}]},
}
WEB_1 = Endpoint("w1", "web-1", "web", ("10.244.1.3", "fd00:10:244:1::3"))
WEB_2 = Endpoint("w2", "web-2", "web", ("10.244.2.3", "fd00:10:244:2::3"))
CLIENT = Endpoint("w1", "client", "client", ("10.244.1.2", "fd00:10:244:1::2"))


def parsed(text: str) -> dict[str, Any]:
    return {document["metadata"]["name"]: document for document in yaml.safe_load_all(text)}


def test_one_slice_for_each_service_and_family() -> None:
    slices = parsed(endpoint_slices(SERVICES, [WEB_1, CLIENT], before=""))
    assert list(slices) == ["web-ipv4", "web-ipv6", "empty-ipv4", "empty-ipv6"]
    assert slices["web-ipv6"]["addressType"] == "IPv6"
    assert slices["web-ipv6"]["metadata"]["labels"] == {"kubernetes.io/service-name": "web"}


def test_an_endpoint_names_its_pod_and_node_and_the_port_is_the_pods() -> None:
    slices = parsed(endpoint_slices(SERVICES, [WEB_1, CLIENT], before=""))
    (endpoint,) = slices["web-ipv4"]["endpoints"]
    assert endpoint["addresses"] == ["10.244.1.3"]
    assert endpoint["nodeName"] == "w1"
    assert endpoint["targetRef"]["name"] == "web-1"
    assert slices["web-ipv4"]["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]


def test_a_service_without_pods_has_slices_without_endpoints() -> None:
    slices = parsed(endpoint_slices(SERVICES, [WEB_1], before=""))
    assert slices["empty-ipv4"]["endpoints"] == slices["empty-ipv4"]["ports"] == []


def test_the_order_in_which_nodes_answer_makes_no_difference() -> None:
    assert endpoint_slices(SERVICES, [WEB_1, WEB_2], "") == endpoint_slices(SERVICES, [WEB_2, WEB_1], "")


def test_an_unchanged_slice_keeps_its_generation_and_a_changed_one_gets_the_next() -> None:
    first = endpoint_slices(SERVICES, [WEB_1], before="")
    assert endpoint_slices(SERVICES, [WEB_1], before=first) == first
    second = parsed(endpoint_slices(SERVICES, [WEB_1, WEB_2], before=first))
    generations = {name: document["metadata"]["generation"] for name, document in second.items()}
    assert generations == {"web-ipv4": 2, "web-ipv6": 2, "empty-ipv4": 1, "empty-ipv6": 1}
