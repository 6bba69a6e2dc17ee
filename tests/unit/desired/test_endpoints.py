"""Which endpoints a Service port has, as kube-proxy finds them. Which of them are chosen: test_policies.py."""

from typing import Any

import pytest

from socklb.api.objects import EndpointSlice, IPFamily, ServicePort
from socklb.desired.endpoints import Place, anywhere, candidates, conditions
from socklb.model import endpoint_text
from tests.unit.agent.shapes import the_slice


def chosen(port: ServicePort, *slices: EndpointSlice, family: IPFamily = "IPv4") -> list[str]:
    return [endpoint_text(backend) for backend in anywhere(candidates(port, family, slices), Place("w1"))]


def endpoints(*addresses: str, **conditions: Any) -> list[dict[str, Any]]:
    return [{"addresses": [address], "conditions": conditions} for address in addresses]


HTTP = ServicePort(80, "http")
TWO = endpoints("10.1.1.1", "10.1.1.2")


@pytest.mark.parametrize(
    ("conditions", "serves"),
    [
        ({"ready": True}, True),
        ({}, True),
        ({"ready": False}, False),
    ],
    ids=["ready", "nothing said", "not ready"],
)
def test_ready_endpoints_serve(conditions: dict[str, Any], serves: bool) -> None:
    slice_ = the_slice(endpoints=endpoints("10.1.1.1", **conditions))
    assert bool(chosen(ServicePort(80), slice_)) is serves


def test_ports_are_matched_by_name() -> None:
    slice_ = the_slice(endpoints=TWO, ports=[{"name": "http", "port": 8080}, {"name": "metrics", "port": 9090}])
    assert chosen(HTTP, slice_) == ["10.1.1.1:8080", "10.1.1.2:8080"]


def test_a_port_without_a_name_matches_one_without() -> None:
    named = the_slice(endpoints=TWO, ports=[{"name": "http", "port": 8080}])
    assert chosen(ServicePort(80), the_slice(endpoints=TWO)) == ["10.1.1.1:8080", "10.1.1.2:8080"]
    assert chosen(ServicePort(80), named) == []
    assert chosen(HTTP, the_slice(endpoints=TWO)) == []


def test_ports_are_matched_by_protocol() -> None:
    slice_ = the_slice(ports=[{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns", "port": 5353}])
    assert chosen(ServicePort(53, "dns", "UDP"), slice_) == ["10.244.1.2:53"]
    assert chosen(ServicePort(53, "dns", "TCP"), slice_) == ["10.244.1.2:5353"]


def test_a_named_target_port_differs_from_slice_to_slice() -> None:
    old = the_slice(name="a", endpoints=endpoints("10.1.1.1"), ports=[{"name": "http", "port": 8080}])
    new = the_slice(name="b", endpoints=endpoints("10.1.1.1", "10.1.1.2"), ports=[{"name": "http", "port": 9090}])
    assert chosen(HTTP, old, new) == ["10.1.1.1:8080", "10.1.1.1:9090", "10.1.1.2:9090"]


def test_a_slice_port_without_a_number_serves_nothing() -> None:
    assert chosen(HTTP, the_slice(ports=[{"name": "http"}])) == []


def test_an_endpoint_in_two_slices_counts_once() -> None:
    assert chosen(ServicePort(80), the_slice(name="a"), the_slice(name="b")) == ["10.244.1.2:8080"]


def test_the_first_address_of_an_endpoint_counts() -> None:
    assert chosen(ServicePort(80), the_slice(endpoints=[{"addresses": ["10.1.1.1", "10.1.1.9"]}])) == ["10.1.1.1:8080"]


def test_each_family_has_its_own_slices() -> None:
    v4 = the_slice(endpoints=endpoints("10.1.1.1"))
    v6 = the_slice(name="v6", addressType="IPv6", endpoints=endpoints("fd00::1"))
    assert chosen(ServicePort(80), v4, v6) == ["10.1.1.1:8080"]
    assert chosen(ServicePort(80), v4, v6, family="IPv6") == ["[fd00::1]:8080"]


def test_fqdn_slices_serve_nothing() -> None:
    assert chosen(ServicePort(80), the_slice(addressType="FQDN", endpoints=endpoints("web.example"))) == []


def test_the_order_does_not_depend_on_slices_and_their_order() -> None:
    a, b, c, d = "10.1.1.1", "10.1.1.2", "10.1.1.10", "10.1.2.1"
    one = the_slice(name="all", endpoints=endpoints(d, b, c, a))
    parts = [the_slice(name="x", endpoints=endpoints(c, a)), the_slice(name="y", endpoints=endpoints(b, d))]
    wanted = [f"{address}:8080" for address in (a, b, c, d)]
    assert chosen(ServicePort(80), one) == wanted
    assert chosen(ServicePort(80), *parts) == chosen(ServicePort(80), *reversed(parts)) == wanted


def test_leading_zeros_are_decimal() -> None:
    assert chosen(ServicePort(80), the_slice(endpoints=endpoints("010.001.001.010"))) == ["10.1.1.10:8080"]


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({}, "ready"),
        ({"ready": False}, "not ready"),
        ({"ready": False, "serving": True, "terminating": True}, "terminating"),
    ],
)
def test_each_endpoint_is_in_a_condition_at_each_port(now: dict[str, Any], said: str) -> None:
    ports = [{"name": "http", "port": 8080}, {"name": "metrics", "port": 9090}]
    told = conditions([the_slice(endpoints=endpoints("10.1.1.1", **now), ports=ports)])
    assert {endpoint_text(backend): text for backend, text in told.items()} == {
        "10.1.1.1:8080": said,
        "10.1.1.1:9090": said,
    }
    assert conditions([the_slice(addressType="FQDN", endpoints=endpoints("a.example"))]) == {}
