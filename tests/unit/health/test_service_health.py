"""What healthCheckNodePort says of a Service: who counts, and on which Services it is looked at."""

from typing import Any

import pytest

from socklb.api.objects import Service
from socklb.health.service_health import health_check
from tests.unit.agent.shapes import endpoint, read, service, the_service, the_slice

HERE, THERE = "w1", "w2"
WANTED: dict[str, Any] = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000}


def count(*slices: dict[str, Any]) -> int:
    found = health_check(the_service(**WANTED), [the_slice(**fields) for fields in slices], HERE)
    assert found is not None
    assert (found.port, found.namespace, found.name) == (31000, "default", "web")
    return found.local_endpoints


@pytest.mark.parametrize(
    ("spec", "labels"),
    [
        ({**WANTED, "type": "NodePort"}, {}),
        ({**WANTED, "type": "ClusterIP"}, {}),
        ({**WANTED, "externalTrafficPolicy": "Cluster"}, {}),
        ({**WANTED, "healthCheckNodePort": 0}, {}),
        (WANTED, {"service.kubernetes.io/service-proxy-name": "other"}),
    ],
    ids=["NodePort", "ClusterIP", "policy Cluster", "no port", "another proxy's"],
)
def test_nothing_is_said_of(spec: dict[str, Any], labels: dict[str, str]) -> None:
    found = read(service(metadata={"labels": labels}, **spec), Service)
    assert health_check(found, [the_slice(endpoints=[endpoint("10.244.1.2", HERE)])], HERE) is None


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        ([endpoint("10.244.1.2", HERE), endpoint("10.244.1.3", HERE)], 2),
        ([endpoint("10.244.1.2", HERE), endpoint("10.244.2.2", THERE), endpoint("10.244.3.2")], 1),
        ([endpoint("10.244.1.2", HERE, ready=False, serving=True, terminating=True)], 0),
        ([endpoint("10.244.1.2", HERE, ready=False)], 0),
        ([endpoint("10.244.1.2", HERE), endpoint("10.244.1.2", HERE)], 1),
    ],
    ids=["every ready one here", "none of other nodes", "no terminating one", "no unready one", "an address once"],
)
def test_endpoints_that_count(endpoints: list[dict[str, Any]], expected: int) -> None:
    assert count({"endpoints": endpoints}) == expected


def test_an_endpoint_in_two_slices_counts_once() -> None:
    here = [endpoint("10.244.1.2", HERE)]
    assert count({"name": "a", "endpoints": here}, {"name": "b", "endpoints": here}) == 1


def test_of_a_dual_stack_service_the_family_with_more_endpoints_counts() -> None:
    four = {"name": "four", "endpoints": [endpoint("10.244.1.2", HERE)]}
    six = [endpoint("fd00::1", HERE), endpoint("fd00::2", HERE)]
    assert count(four, {"name": "six", "addressType": "IPv6", "endpoints": six}) == 2


@pytest.mark.parametrize("more", [{"addressType": "FQDN"}, {"ports": []}, {"ports": [{"name": "http"}]}])
def test_slices_that_serve_nothing_do_not_count(more: dict[str, Any]) -> None:
    address = "a.example.test" if "addressType" in more else "10.244.1.2"
    assert count({"endpoints": [endpoint(address, HERE)], **more}) == 0
