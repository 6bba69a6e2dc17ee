"""What the API says of pods and Services, as a lab knows them."""

import json
from typing import Any

from labs.engine.kubernetes import interfaces, pods_of
from labs.engine.objects import balanced, first_number, service_of

ORDER = ("worker", "worker2", "control-plane")


def pod(name: str, node: str, app: str = "web", **status: Any) -> dict[str, Any]:
    addresses = [{"ip": f"10.244.0.{len(name)}"}, {"ip": "fd00::1"}]
    return {
        "metadata": {"name": name, "uid": f"uid-of-{name}", "labels": {"app": app}},
        "spec": {"nodeName": node},
        "status": {"phase": "Running", "podIPs": addresses} | status,
    }


def names(*items: dict[str, Any]) -> dict[str, str]:
    return {found.name: found.itself for found in pods_of(items, ORDER)}


def test_pods_are_numbered_in_the_order_of_the_nodes_and_the_first_client_has_no_number() -> None:
    items = [
        pod("web-x", "control-plane"),
        pod("web-z", "worker"),
        pod("web-y", "worker"),
        pod("client-b", "worker2", "client"),
        pod("client-a", "worker", "client"),
    ]
    assert names(*items) == {
        "client": "client-a",
        "client-2": "client-b",
        "web-1": "web-y",
        "web-2": "web-z",
        "web-3": "web-x",
    }


def test_a_pod_that_somebody_added_keeps_its_name_and_serves_nothing() -> None:
    (found,) = pods_of([pod("mine", "worker", "other")], ORDER)
    assert (found.name, found.kind) == ("mine", "")


def test_pods_that_do_not_run_or_are_about_to_go_are_left_out() -> None:
    going = pod("web-a", "worker")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert names(going, pod("web-b", "worker", phase="Pending"), pod("web-c", "worker")) == {"web-1": "web-c"}


def test_a_service_has_the_pods_of_its_selector_and_ports_as_defaulted() -> None:
    ports = [{"port": 80, "targetPort": "http", "nodePort": 32000}, {"name": "dns", "protocol": "UDP", "port": 53}]
    spec = {"selector": {"app": "web"}, "clusterIPs": ["10.96.0.10", "fd00::a"], "ports": ports}
    service = service_of({"metadata": {"name": "shop"}, "spec": spec})
    assert (service.name, service.kind, service.addresses) == ("shop", "web", ("10.96.0.10", "fd00::a"))
    first, second = service.ports
    assert (first.protocol, first.port, first.node_port) == ("TCP", 80, 32000)
    assert (second.protocol, second.port, second.target, second.node_port) == ("UDP", 53, 53, None)


def test_a_headless_service_has_no_address() -> None:
    spec = {"selector": {"app": "web"}, "clusterIPs": ["None"]}
    assert service_of({"metadata": {"name": "shop"}, "spec": spec}).addresses == ()


def test_a_service_of_type_load_balancer_has_the_same_addresses_on_every_inventory() -> None:
    spec = {"selector": {"app": "web"}, "clusterIPs": ["10.96.0.10"]}
    status = balanced(first_number("lab-07") + 1)
    service = service_of({"metadata": {"name": "direct"}, "spec": spec, "status": status})
    assert service.balancers == ("203.0.113.142", "2001:db8::1:8d")


def test_an_interface_without_such_an_address_is_left_out() -> None:
    eth0 = {"ifname": "eth0", "addr_info": [{"local": "172.18.0.5"}, {"local": "fc00::5"}]}
    veth = {"ifname": "veth1", "addr_info": [{}]}
    assert interfaces(json.dumps([{}, veth, eth0])) == {"eth0": ("172.18.0.5", "fc00::5")}
