"""Upstream's loadbalancer.go: load balancers and external traffic policies."""

from collections.abc import Iterator
from typing import Any

import pytest

from inventory.place import Place
from tests.cluster.upstream.shared import (
    ALL,
    CYCLES,
    balanced,
    families,
    health,
    kinds,
    local,
    refused_outside,
    sticky,
    udp_follows,
)
from tests.support.conformance import upstream
from tests.support.manifests import port
from tests.support.netexec import Asking, Request, ask, ask_at_once
from tests.support.waiting import until
from tests.support.world import (
    BOTH,
    LOAD_BALANCER,
    NODE_PORT,
    NODE_PORTS,
    VIP,
    World,
)


@pytest.fixture(params=["w1", "w2"])
def entry(request: pytest.FixtureRequest, whole_world: World) -> Iterator[str]:
    """The node that the load balancer has chosen."""
    whole_world.from_outside_by(request.param)
    yield request.param
    whole_world.from_outside_by("w1")


@pytest.fixture
def entry_by_w2(whole_world: World) -> Iterator[None]:
    """The load balancer has chosen the node with two endpoints."""
    whole_world.from_outside_by("w2")
    yield
    whole_world.from_outside_by("w1")


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        pytest.param(
            kind,
            family,
            marks=upstream("loadbalancer.go", f"should be able to change the type and ports of a {protocol} service"),
        )
        for kind, protocol, family in (("http", "TCP", "IPv4"), ("udp", "UDP", "IPv6"))
    ],
)
def test_type_and_ports_change(world: World, client: Place, kind: str, family: str) -> None:
    protocol = "UDP" if kind == "udp" else "TCP"
    other = [port(81, protocol, node_port=NODE_PORT + 1)]

    def served(*spots: tuple[Place, str, int]) -> list[bool]:
        asked = ((place, Request(kind, address, number, patience=1)) for place, address, number in spots)
        return [answer in ALL for answer in ask_at_once(*asked)]

    here, outside, node = client, world.outside, world.node("w2", family)
    spots = (
        (here, VIP[family], 80),
        (outside, node, NODE_PORT),
        (outside, LOAD_BALANCER[family], 80),
        (here, VIP[family], 81),
        (outside, node, NODE_PORT + 1),
        (outside, LOAD_BALANCER[family], 81),
    )
    endpoints = world.endpoints.values()
    steps: list[tuple[dict[str, Any], list[int]]] = [
        ({}, [1, 0, 0, 0, 0, 0]),
        ({"type": "NodePort", "ports": NODE_PORTS}, [1, 1, 0, 0, 0, 0]),
        (balanced(), [1, 1, 1, 0, 0, 0]),
        (balanced(ports=other), [0, 0, 0, 1, 1, 1]),
        ({"ports": other}, [0, 0, 0, 1, 0, 0]),
    ]
    for spec, expected in steps:
        world.serve(*endpoints, **spec)
        assert served(*spots) == [bool(one) for one in expected]
    world.serve(**balanced())
    assert world.answers(here, kind, LOAD_BALANCER[family]) == ["ECONNREFUSED"]
    refused_outside(world, Request(kind, LOAD_BALANCER[family], 80))


@families
@upstream("loadbalancer.go", "should only allow access from service loadbalancer source ranges")
def test_source_ranges(world: World, client: Place, far_client: Place, family: str) -> None:
    own, others = [world.pod(name, family) for name in ("client", "client-2")]
    bits = 32 if family == "IPv4" else 128
    asked = Request("http", LOAD_BALANCER[family], 80, patience=1)
    for ranges, allowed in (([f"{own}/{bits}"], [True, False]), ([f"{others}/{bits}"], [False, True])):
        world.serve(*world.endpoints.values(), **balanced(loadBalancerSourceRanges=ranges))
        *answers, outside = ask_at_once(*((place, asked) for place in (client, far_client, world.outside)))
        assert [answer in ALL for answer in answers] == allowed
        assert outside == "TIMEOUT"
    world.serve(*world.endpoints.values(), **balanced())
    assert [ask(place, asked)[0] in ALL for place in (client, far_client, world.outside)] == [True] * 3


@families
@pytest.mark.parametrize(
    "esipp",
    [
        pytest.param(
            on == "on",
            marks=[
                upstream(
                    "loadbalancer.go", f"should have session affinity work for LoadBalancer service with ESIPP {on}"
                ),
                upstream(
                    "loadbalancer.go",
                    f"should be able to switch session affinity for LoadBalancer service with ESIPP {on}",
                ),
            ],
        )
        for on in ("on", "off")
    ],
)
@pytest.mark.usefixtures("entry_by_w2")
def test_affinity_of_a_load_balancer(world: World, family: str, esipp: bool) -> None:
    spec, met = (local(), {"e2e-2", "e2e-3"}) if esipp else (balanced(), ALL)
    for affinity, count in ((sticky(), 1), ({}, len(met)), (sticky(), 1)):
        world.serve(*world.endpoints.values(), **spec, **affinity)
        found = world.hits(world.outside, "http", LOAD_BALANCER[family])
        assert len(found) == count
        assert found <= met


@families
@upstream("loadbalancer.go", "should be able to create LoadBalancer Service without NodePort and change it")
def test_load_balancer_without_node_port(world: World, client: Place, family: str) -> None:
    asked = Request("http", world.node("w2", family), NODE_PORT, patience=1)
    for ports, expected in ((BOTH, False), (NODE_PORTS, True)):
        world.serve(*world.endpoints.values(), **balanced(ports=ports, allocateLoadBalancerNodePorts=False))
        for place in (client, world.outside):
            assert world.hits(place, "http", LOAD_BALANCER[family]) == ALL
            assert (ask(place, asked)[0] in ALL) == expected


@families
@pytest.mark.parametrize(
    "pods",
    [
        pytest.param(
            ["e2e-1", "e2e-2"], marks=upstream("loadbalancer.go", f"{CYCLES}LoadBalancer service on different nodes")
        ),
        pytest.param(
            ["e2e-2", "e2e-3"], marks=upstream("loadbalancer.go", f"{CYCLES}LoadBalancer service on the same nodes")
        ),
    ],
)
def test_udp_to_a_load_balancer_follows(world: World, family: str, pods: list[str]) -> None:
    udp_follows(
        world, world.outside, LOAD_BALANCER[family], 80, pods, type="LoadBalancer", ingress=LOAD_BALANCER.values()
    )


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(
            policy,
            marks=upstream(
                "loadbalancer.go",
                f"should not have connectivity disruption during rolling update with externalTrafficPolicy={policy}",
            ),
        )
        for policy in ("Cluster", "Local")
    ],
)
@pytest.mark.usefixtures("entry_by_w2")
def test_rolling_update(world: World, policy: str) -> None:
    two, three = world.endpoints["e2e-2"], world.endpoints["e2e-3"]
    spec = balanced() if policy == "Cluster" else local()
    world.serve(two, **spec)
    running = Asking(world.outside, Request("http", LOAD_BALANCER["IPv4"], 80, pause=0.02, patience=1))
    for endpoints in ([two, three], [two.terminates(), three], [three], [three, two], [three.terminates(), two], [two]):
        world.serve(*endpoints, **spec)
        running.goes_on(10)
    assert set(running.end()) == {"e2e-2", "e2e-3"}


@families
@kinds
@upstream("loadbalancer.go", "ESIPP should work for type=LoadBalancer")
def test_local_load_balancer_keeps_the_clients_address(world: World, family: str, kind: str) -> None:
    """With Cluster it is the node's where a pod of another node answers: the reply is to come back by this one."""
    own = world.outside_address(family)
    for endpoint, spec, kept in (("e2e-1", local(), True), ("e2e-2", balanced(), False)):
        world.serve(world.endpoints[endpoint], **spec)
        answers = world.answers(world.outside, kind, LOAD_BALANCER[family], text="clientip")
        assert (answers == [own]) == kept


@families
@kinds
@upstream("loadbalancer.go", "ESIPP should work for type=NodePort")
def test_local_node_port_keeps_the_clients_address(
    world: World, client: Place, far_client: Place, family: str, kind: str
) -> None:
    world.serve(world.endpoints["e2e-2"], type="NodePort", ports=NODE_PORTS, externalTrafficPolicy="Local")
    asked = Request(kind, world.node("w2", family), NODE_PORT, "clientip")
    assert ask(client, asked) == [world.pod("client", family)]
    assert ask(far_client, asked) == [world.pod("client-2", family)]
    assert ask(world.outside, asked) == [world.outside_address(family)]


@families
@upstream("loadbalancer.go", "ESIPP should only target nodes with endpoints")
def test_only_nodes_with_endpoints(world: World, client: Place, entry: str, family: str) -> None:
    asked = Request("http", LOAD_BALANCER[family], 80, patience=1)
    for name, endpoint in world.endpoints.items():
        world.serve(endpoint, **local())
        here = endpoint.node == entry
        assert ask(world.outside, asked) == ([name] if here else ["TIMEOUT"])
        until(lambda here=here: health(world, client, entry) == ("200" if here else "503"))


@families
@upstream("loadbalancer.go", "ESIPP should work from pods")
def test_local_load_balancer_from_pods(world: World, family: str) -> None:
    """Pods are led to any endpoint, as by kube-proxy, with their own address."""
    for name, endpoint in world.endpoints.items():
        world.serve(endpoint, **local())
        for pod in ("client", "client-2"):
            own = world.pod(pod, family)
            asked = [Request("http", LOAD_BALANCER[family], 80, text) for text in ("hostname", "clientip")]
            assert ask(world.pods[pod], *asked) == [name, own]


@families
@upstream("loadbalancer.go", "ESIPP should handle updates to ExternalTrafficPolicy field")
def test_external_traffic_policy_changes(world: World, client: Place, family: str) -> None:
    asked = Request("http", LOAD_BALANCER[family], 80, patience=1)  # to w1, which has no endpoint
    own = world.outside_address(family)
    at_node = Request("http", world.node("w2", family), NODE_PORT, "clientip")
    for _ in range(2):
        world.serve(world.endpoints["e2e-2"], **local())
        assert ask(world.outside, asked, at_node) == ["TIMEOUT", own]
        until(lambda: health(world, client, "w2") == "200")
        world.serve(world.endpoints["e2e-2"], **balanced())
        answer, seen = ask(world.outside, asked, asked._replace(text="clientip"))
        assert answer == "e2e-2"
        assert seen != own
        until(lambda: health(world, client, "w2") == "000")
