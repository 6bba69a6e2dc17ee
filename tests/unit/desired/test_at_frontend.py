"""What the agent says of a frontend: who should serve it, and why nobody does."""

from typing import Any

import pytest

from socklb.api.objects import EndpointSlice
from socklb.desired.at_frontend import Desired, of, read_frontend
from socklb.desired.plan import Plan
from socklb.desired.store import ObjectStore
from socklb.model import frontend_text
from tests.unit.agent.shapes import endpoint, present, the_service, the_slice

CLUSTER_IP, NODE_PORT = "10.96.0.10:80/TCP", "0.0.0.0:32000/TCP"
HERE, THERE, STARTING = endpoint("10.1.1.1", "w1"), endpoint("10.1.1.2", "w2"), endpoint("10.1.1.3", "w1", ready=False)
AT_NODES = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 32000}]}
LOCAL_INSIDE, LOCAL_OUTSIDE = {"internalTrafficPolicy": "Local"}, {"externalTrafficPolicy": "Local"}


def desired(frontend: str, spec: dict[str, Any], *slices: EndpointSlice) -> Desired:
    state, plan = ObjectStore(), Plan("w1")
    plan.update(state, state.apply(present(the_service(**spec), *slices)))
    return of(state, plan, read_frontend(frontend))


@pytest.mark.parametrize(
    ("spec", "slices", "why"),
    [
        ({}, [], "it has no EndpointSlice"),
        ({}, [the_slice(endpoints=[])], "its EndpointSlices have no endpoint"),
        ({}, [the_slice(endpoints=[STARTING])], "of 1 endpoints none is ready"),
        (LOCAL_INSIDE, [the_slice(endpoints=[THERE])], "internalTrafficPolicy is Local, endpoints are on w2"),
        (
            LOCAL_INSIDE,
            [the_slice(endpoints=[THERE, STARTING])],
            "internalTrafficPolicy is Local, endpoints are on w2, and of 1 here none is ready",
        ),
        (LOCAL_INSIDE, [the_slice(endpoints=[STARTING])], "of 1 endpoints none is ready"),
        (
            {},
            [the_slice(ports=[{"name": "web", "port": 8080}])],
            "no port of its EndpointSlices is named '', so it is refused; valid: 'web'",
        ),
    ],
)
def test_nobody_serves_for_a_reason(spec: dict[str, Any], slices: list[EndpointSlice], why: str) -> None:
    found = desired(CLUSTER_IP, spec, *slices)
    assert (found.service, found.backends, found.why) == ("default/web", [], why)


def test_the_outside_has_reasons_of_its_own() -> None:
    found = desired(NODE_PORT, {**AT_NODES, **LOCAL_OUTSIDE}, the_slice(endpoints=[THERE]))
    assert found.type == "NodePort"
    assert (found.backends, found.outside) == (["10.1.1.2:8080"], [])
    assert (found.why, found.why_outside) == ("", "externalTrafficPolicy is Local, endpoints are on w2")


def test_who_is_served_needs_no_reason() -> None:
    found = desired(CLUSTER_IP, LOCAL_INSIDE, the_slice(endpoints=[HERE, THERE]))
    assert (found.backends, found.why) == (["10.1.1.1:8080"], "")


def test_a_port_that_no_service_has_is_nobodys_but_the_address_is_known() -> None:
    found = desired("10.96.0.10:81/TCP", {})
    assert (found.service, found.sole) == ("", ["default/web"])
    assert desired("10.96.0.11:80/TCP", {}).sole == []


@pytest.mark.parametrize("text", [CLUSTER_IP, "[fd00::a]:53/UDP", "10.1.1.1:9/SCTP"])
def test_a_frontend_is_read_as_it_is_written(text: str) -> None:
    assert frontend_text(read_frontend(text)) == text
