"""Kubernetes' own end-to-end tests of Services (test/e2e/network), each shown here under its name, without an API.

A test is marked with the upstream tests it stands for; the run ends with a table of them (build/conformance.md, and
docs/conformance.md with what needs more than a proxy). Pods, servers, addresses: tests/support/world.py.
"""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from inventory.place import Place
from tests.support.cluster import ROOT, Cluster, deploy
from tests.support.conformance import behaviours, table, upstream
from tests.support.manifests import port
from tests.support.netexec import Asking, Request, ask, ask_at_once, end, start
from tests.support.programs import INVALID_CLIENT, INVALID_SERVER, SCTP_INIT, SCTP_WATCH
from tests.support.waiting import until
from tests.support.world import (
    BOTH,
    EXTERNAL,
    HOST_PORT,
    LOAD_BALANCER,
    LOOPBACK,
    NODE_PORT,
    NODE_PORTS,
    VIP,
    World,
    built,
)

ALL = {"e2e-1", "e2e-2", "e2e-3"}
REFUSED = {"ECONNREFUSED"}
HEALTH_PORT = 31901
MARKED_FAMILIES = (("IPv4", "networking.go"), ("IPv6", "dual_stack.go"))

families = pytest.mark.parametrize("family", ["IPv4", "IPv6"])
kinds = pytest.mark.parametrize("kind", ["http", "udp"])


def granular(text: str, *of_kinds: str) -> pytest.MarkDecorator:
    """networking.go has it for the cluster's first family, dual_stack.go for the second."""
    return pytest.mark.parametrize(
        ("family", "kind"),
        [
            pytest.param(family, kind, marks=upstream(file, f"{text}: {kind}"))
            for family, file in MARKED_FAMILIES
            for kind in of_kinds or ("http", "udp")
        ],
    )


@pytest.fixture(scope="module")
def whole_world(cluster: Cluster) -> Iterator[World]:
    with built(cluster) as world:
        yield world


@pytest.fixture
def world(whole_world: World) -> Iterator[World]:
    yield whole_world
    whole_world.manifests.clear()


@pytest.fixture
def client(whole_world: World) -> Place:
    """A pod of w1."""
    return whole_world.pods["client"]


@pytest.fixture
def far_client(whole_world: World) -> Place:
    """A pod of w2."""
    return whole_world.pods["client-2"]


def refused_outside(world: World, asked: Request) -> None:
    """The kernel limits how many ICMP errors, redirects among them, one machine is sent: the first may be withheld."""
    until(lambda: ask(world.outside, asked) == ["ECONNREFUSED"])


@families
@kinds
@upstream("service.go", "should serve a basic endpoint from pods")
def test_basic_endpoints(world: World, client: Place, family: str, kind: str) -> None:
    one, two, _ = world.endpoints.values()
    for endpoints, expected in (
        ([], REFUSED),
        ([one], {"e2e-1"}),
        ([one, two], {"e2e-1", "e2e-2"}),
        ([two], {"e2e-2"}),
        ([], REFUSED),
    ):
        world.serve(*endpoints)
        assert world.hits(client, kind, VIP[family]) == expected


@families
@upstream("service.go", "should serve multiport endpoints from pods")
def test_multiport_endpoints(world: World, client: Place, family: str) -> None:
    world.serve(world.endpoints["e2e-1"], ports=[port(80), port(81, target=8081)])
    world.serve(world.endpoints["e2e-2"], name="other", ports=[port(80)], clusterIPs=["10.96.0.201", "fd00:10:96::c9"])
    assert world.hits(client, "http", VIP[family], 80, 5) == world.hits(client, "http", VIP[family], 81, 5) == {"e2e-1"}
    assert world.hits(client, "http", VIP[family], 82, 1) == REFUSED


@families
@upstream("service.go", "should be updated after adding or deleting ports")
def test_ports_come_and_go(world: World, client: Place, family: str) -> None:
    def reached() -> list[bool]:
        asked = [("http", 80), ("http", 81), ("udp", 80)]
        return [world.hits(client, kind, VIP[family], number, 1) == {"e2e-1"} for kind, number in asked]

    for ports, expected in (
        ([port(80)], [True, False, False]),
        ([port(80), port(81), port(80, "UDP")], [True, True, True]),
        ([port(81)], [False, True, False]),
    ):
        world.serve(world.endpoints["e2e-1"], ports=ports)
        assert reached() == expected


@families
@kinds
@pytest.mark.parametrize("name", ["client", "client-2"])
@upstream("service.go", "should preserve source pod IP for traffic thru service cluster IP [LinuxOnly]")
def test_source_addresses_are_kept(world: World, name: str, family: str, kind: str) -> None:
    world.serve(world.endpoints["e2e-2"])
    own = world.pod(name, family)
    assert world.answers(world.pods[name], kind, VIP[family], text="clientip") == [own]


@families
@kinds
@pytest.mark.parametrize("hooked", [True, False], ids=["socket", "packet"])
@upstream("service.go", "should allow pods to hairpin back to themselves through services")
def test_hairpin(world: World, family: str, kind: str, hooked: bool) -> None:
    world.serve(world.endpoints["e2e-1"])
    assert ask(world.pods["e2e-1"], Request(kind, VIP[family], 80), hooked=hooked) == ["e2e-1"]


@upstream("service.go", "should be able to up and down services")
def test_services_up_and_down(world: World, client: Place) -> None:
    addresses = {f"up-down-{n}": f"10.96.0.{200 + n}" for n in (1, 2, 3)}
    endpoints = dict(zip(addresses, world.endpoints.values(), strict=True))

    def up(name: str) -> None:
        world.serve(endpoints[name], name=name, clusterIPs=[addresses[name]])

    def served() -> list[str]:
        asked = [Request("http", address, 80, patience=1) for address in addresses.values()]
        return [answer if answer in ALL else "" for answer in ask(client, *asked, how="at once")]

    up("up-down-1")
    up("up-down-2")
    assert served() == ["e2e-1", "e2e-2", ""]
    world.manifests.remove("up-down-1")
    assert served() == ["", "e2e-2", ""]
    up("up-down-3")
    assert served() == ["", "e2e-2", "e2e-3"]


@families
@kinds
@upstream("service.go", "should work after the service has been recreated")
def test_recreated(world: World, client: Place, family: str, kind: str) -> None:
    for _ in range(2):
        world.serve(world.endpoints["e2e-1"])
        assert world.hits(client, kind, VIP[family], times=3) == {"e2e-1"}
        world.manifests.remove("e2e")
        assert ask(client, Request(kind, VIP[family], 80, patience=1)) != ["e2e-1"]


@upstream("service.go", "should work after restarting kube-proxy [Disruptive]")
def test_restarted_agent(world: World, client: Place, far_client: Place) -> None:
    world.serve(*world.endpoints.values())
    for name in ("w1", "w2"):
        world.nodes[name].output("sh", "-c", "kill $(cat /run/socklb/agent.pid)")
    for place in (client, far_client):
        assert world.hits(place, "http", VIP["IPv4"]) == ALL
    deploy("agent")
    world.serve(world.endpoints["e2e-2"], name="second", clusterIPs=["10.96.0.201", "fd00:10:96::c9"])
    for place in (client, far_client):
        assert world.hits(place, "http", VIP["IPv6"]) == ALL
        assert world.hits(place, "http", "fd00:10:96::c9") == {"e2e-2"}


@families
@upstream("service.go", "should be able to create a functioning NodePort service")
def test_node_port(world: World, client: Place, far_client: Place, family: str) -> None:
    world.serve(*world.endpoints.values(), type="NodePort", ports=NODE_PORTS)
    for place in (client, far_client, world.outside):
        for node in world.nodes:
            assert world.hits(place, "http", world.node(node, family), NODE_PORT) == ALL
    assert world.hits(client, "http", VIP[family]) == ALL


@families
@kinds
@upstream(
    "service.go",
    "should be possible to connect to a service via ExternalIP when the external IP is not assigned to a node",
)
def test_external_ip(world: World, client: Place, family: str, kind: str) -> None:
    asked = Request(kind, EXTERNAL[family], 80, patience=1)
    world.serve(*world.endpoints.values())
    assert ask(client, asked)[0] not in ALL
    world.serve(*world.endpoints.values(), externalIPs=list(EXTERNAL.values()))
    for place in (client, world.nodes["w2"], world.outside):
        assert world.hits(place, kind, EXTERNAL[family]) == ALL


@families
@upstream(
    "service.go",
    "should be able to update service type to NodePort listening on same port number but different protocols",
)
def test_one_node_port_for_two_protocols(world: World, client: Place, family: str) -> None:
    world.serve(world.endpoints["e2e-1"], ports=[port(80)])
    assert world.hits(client, "http", world.node("w2", family), NODE_PORT, 1) == REFUSED
    world.serve(world.endpoints["e2e-1"], type="NodePort", ports=NODE_PORTS)
    for place in (client, world.outside):
        for kind in ("http", "udp"):
            assert world.hits(place, kind, world.node("w2", family), NODE_PORT, 3) == {"e2e-1"}


@pytest.mark.parametrize(
    ("kind", "back"),
    [
        pytest.param(
            "ClusterIP",
            False,
            marks=upstream("service.go", "should be able to change the type from ExternalName to ClusterIP"),
        ),
        pytest.param(
            "NodePort",
            False,
            marks=upstream("service.go", "should be able to change the type from ExternalName to NodePort"),
        ),
        pytest.param(
            "ClusterIP",
            True,
            marks=upstream("service.go", "should be able to change the type from ClusterIP to ExternalName"),
        ),
        pytest.param(
            "NodePort",
            True,
            marks=upstream("service.go", "should be able to change the type from NodePort to ExternalName"),
        ),
    ],
)
def test_external_name(world: World, client: Place, kind: str, back: bool) -> None:
    ports = NODE_PORTS if kind == "NodePort" else BOTH
    address, number = (world.node("w2", "IPv4"), NODE_PORT) if kind == "NodePort" else (VIP["IPv4"], 80)

    def served() -> bool:
        return ask(client, Request("http", address, number, patience=1)) == ["e2e-1"]

    for proxied in (True, False) if back else (False, True):
        spec = {"type": kind} if proxied else {"type": "ExternalName", "externalName": "example.test"}
        world.serve(world.endpoints["e2e-1"], ports=ports, **spec)
        assert served() == proxied


@families
@upstream("service.go", "should create endpoints for unready pods")
@upstream(
    "service.go", "should be able to connect to terminating and unready endpoints if PublishNotReadyAddresses is true"
)
def test_unready_endpoints_that_are_published(world: World, client: Place, family: str) -> None:
    """With publishNotReadyAddresses the slices say ready, whatever the pods are."""
    one, two, three = world.endpoints.values()
    world.serve(
        one._replace(serving=False, terminating=True),
        two._replace(serving=False),
        three,
        publishNotReadyAddresses=True,
        type="NodePort",
        ports=NODE_PORTS,
    )
    assert world.hits(client, "http", VIP[family]) == ALL
    assert world.hits(client, "http", world.node("w1", family), NODE_PORT) == ALL


@families
@upstream(
    "service.go",
    "should not be able to connect to terminating and unready endpoints if PublishNotReadyAddresses is false",
)
def test_unready_endpoints_that_are_not_published(world: World, client: Place, family: str) -> None:
    one, two, three = world.endpoints.values()
    terminating, unready = one._replace(ready=False, serving=False, terminating=True), two.unready()
    world.serve(terminating, unready, three, type="NodePort", ports=NODE_PORTS)
    assert world.hits(client, "http", VIP[family]) == {"e2e-3"}
    world.serve(terminating, unready, type="NodePort", ports=NODE_PORTS)
    assert world.hits(client, "http", VIP[family], times=3) == REFUSED
    assert world.hits(client, "http", world.node("w1", family), NODE_PORT, 3) == REFUSED


def sticky(seconds: int = 10800) -> dict[str, Any]:
    return {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}}


def address_of(world: World, type_: str, family: str) -> tuple[str, int]:
    return (world.node("w2", family), NODE_PORT) if type_ == "NodePort" else (VIP[family], 80)


def affine_types(text: str) -> pytest.MarkDecorator:
    named = {"ClusterIP": "clusterIP", "NodePort": "NodePort"}
    return pytest.mark.parametrize(
        "type_",
        [pytest.param(type_, marks=upstream("service.go", text.format(name))) for type_, name in named.items()],
    )


@families
@affine_types("should have session affinity work for service with type {}")
def test_affinity(world: World, client: Place, type_: str, family: str) -> None:
    world.serve(*world.endpoints.values(), type=type_, ports=NODE_PORTS if type_ == "NodePort" else BOTH, **sticky())
    asked = address_of(world, type_, family)
    for place in (client, world.nodes["w1"], *([world.outside] if type_ == "NodePort" else [])):
        assert len(world.hits(place, "http", *asked, times=15)) == 1


@affine_types("should have session affinity timeout work for service with type {}")
def test_affinity_times_out(world: World, client: Place, type_: str) -> None:
    world.serve(*world.endpoints.values(), type=type_, ports=NODE_PORTS if type_ == "NodePort" else BOTH, **sticky(1))
    asked = Request("http", *address_of(world, type_, "IPv4"))
    for place in (client, *([world.outside] if type_ == "NodePort" else [])):
        (kept,) = set(ask(place, *[asked] * 15))
        until(lambda place=place, kept=kept: ask(place, asked._replace(pause=1.5)) != [kept])


@families
@affine_types("should be able to switch session affinity for service with type {}")
def test_affinity_is_switched(world: World, client: Place, type_: str, family: str) -> None:
    ports = NODE_PORTS if type_ == "NodePort" else BOTH
    for spec, count in (({}, 3), (sticky(), 1), ({}, 3)):
        world.serve(*world.endpoints.values(), type=type_, ports=ports, **spec)
        for place in (client, *([world.outside] if type_ == "NodePort" else [])):
            assert len(world.hits(place, "http", *address_of(world, type_, family))) == count


@pytest.mark.parametrize(
    "label",
    [
        pytest.param(name, marks=upstream("service.go", f"should implement service.kubernetes.io/{name}"))
        for name in ("service-proxy-name", "headless")
    ],
)
def test_labels_that_say_another_proxy_serves(world: World, client: Place, label: str) -> None:
    for labels in ({f"service.kubernetes.io/{label}": "e2e"}, {}, {f"service.kubernetes.io/{label}": ""}, {}):
        world.serve(*world.endpoints.values(), labels=labels)
        (answer,) = ask(client, Request("http", VIP["IPv4"], 80, patience=1))
        assert (answer in ALL) == (not labels)


@families
@kinds
@upstream("service.go", "should be rejected when no endpoints exist")
def test_no_endpoints(world: World, client: Place, family: str, kind: str) -> None:
    world.serve(type="NodePort", ports=NODE_PORTS)
    for place in (client, world.nodes["w1"]):
        assert world.answers(place, kind, VIP[family]) == ["ECONNREFUSED"]
        assert world.answers(place, kind, world.node("w2", family), NODE_PORT) == ["ECONNREFUSED"]
    refused_outside(world, Request(kind, world.node("w2", family), NODE_PORT))


@families
@upstream("service.go", "should be rejected for evicted pods (no endpoints exist)")
def test_evicted_pods(world: World, client: Place, family: str) -> None:
    """An evicted pod leaves the slice, and so does its readiness before."""
    world.serve(world.endpoints["e2e-1"])
    assert world.answers(client, "http", VIP[family]) == ["e2e-1"]
    for endpoints in ([world.endpoints["e2e-1"].unready()], []):
        world.serve(*endpoints)
        assert world.answers(client, "http", VIP[family]) == ["ECONNREFUSED"]


@families
@kinds
@pytest.mark.parametrize(
    ("from_host", "to_host"),
    [
        pytest.param(
            False, False, marks=upstream("service.go", "should respect internalTrafficPolicy=Local Pod to Pod")
        ),
        pytest.param(
            True,
            False,
            marks=upstream("service.go", "should respect internalTrafficPolicy=Local Pod (hostNetwork: true) to Pod"),
        ),
        pytest.param(
            None,
            True,
            marks=upstream(
                "service.go", "should respect internalTrafficPolicy=Local Pod and Node, to Pod (hostNetwork: true)"
            ),
        ),
    ],
)
def test_internal_traffic_policy(world: World, family: str, kind: str, from_host: bool | None, to_host: bool) -> None:
    endpoint, name, number = (world.on_host, "w2", HOST_PORT) if to_host else (world.endpoints["e2e-2"], "e2e-2", 8080)
    ports = [port(80, target=number), port(80, "UDP", target=number)]
    pods, hosts = (world.pods["client"], world.pods["client-2"]), (world.nodes["w1"], world.nodes["w2"])
    for far, near in [pods, hosts] if from_host is None else [hosts if from_host else pods]:
        world.serve(endpoint, ports=ports)
        assert world.answers(far, kind, VIP[family]) == [name]
        world.serve(endpoint, ports=ports, internalTrafficPolicy="Local")
        assert world.answers(near, kind, VIP[family]) == [name]
        assert world.answers(far, kind, VIP[family]) == ["ECONNREFUSED"]


def health(world: World, place: Place, node: str) -> str:
    url = f"http://{world.node(node, 'IPv4')}:{HEALTH_PORT}/"
    return place.run("curl", "-s", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code}", url).stdout


@upstream("service.go", "should fail health check node port if there are only terminating endpoints")
def test_health_check_of_terminating_endpoints(world: World, client: Place) -> None:
    world.serve(world.endpoints["e2e-2"], **local())
    until(lambda: health(world, client, "w2") == "200")
    world.serve(world.endpoints["e2e-2"].terminates(), **local())
    until(lambda: health(world, client, "w2") == "503")
    for place in (client, world.outside):
        assert world.answers(place, "http", world.node("w2", "IPv4"), NODE_PORT) == ["e2e-2"]


FALLBACK = "should fallback to {} endpoints when there are no ready endpoints with "


@families
@upstream("service.go", FALLBACK.format("terminating") + "internalTrafficPolicy=Cluster")
def test_terminating_endpoints(world: World, client: Place, far_client: Place, family: str) -> None:
    one, two, _ = world.endpoints.values()
    world.serve(one, two.terminates())
    assert world.hits(client, "http", VIP[family]) == {"e2e-1"}
    world.serve(one.unready(), two.terminates())
    for place in (client, far_client):
        assert world.hits(place, "http", VIP[family]) == {"e2e-2"}


@families
@upstream("service.go", FALLBACK.format("local terminating") + "internalTrafficPolicy=Local")
def test_local_terminating_endpoints(world: World, client: Place, far_client: Place, family: str) -> None:
    world.serve(world.endpoints["e2e-2"].terminates(), internalTrafficPolicy="Local")
    assert world.hits(far_client, "http", VIP[family]) == {"e2e-2"}
    assert world.hits(client, "http", VIP[family], times=3) == REFUSED


@families
@upstream("service.go", FALLBACK.format("terminating") + "externallTrafficPolicy=Cluster")  # spelled so upstream
def test_terminating_endpoints_at_a_node_port(world: World, client: Place, far_client: Place, family: str) -> None:
    one, two, _ = world.endpoints.values()
    world.serve(one.unready(), two.terminates(), type="NodePort", ports=NODE_PORTS)
    for place in (client, far_client, world.outside):
        for node in ("w1", "w2"):
            assert world.hits(place, "http", world.node(node, family), NODE_PORT, 10) == {"e2e-2"}


@families
@upstream("service.go", FALLBACK.format("local terminating") + "externalTrafficPolicy=Local")
def test_local_terminating_endpoints_at_a_node_port(
    world: World, client: Place, far_client: Place, family: str
) -> None:
    """Whoever asks the node without endpoints gets nothing, pods too: the test that a shortcut at the socket fails."""
    endpoint = world.endpoints["e2e-2"].terminates()
    world.serve(endpoint, type="NodePort", ports=NODE_PORTS, externalTrafficPolicy="Local")
    for place in (client, far_client, world.outside):
        assert world.hits(place, "http", world.node("w2", family), NODE_PORT, 5) == {"e2e-2"}
    without = Request("http", world.node("w1", family), NODE_PORT, patience=1)
    for place in (far_client, world.outside):
        assert ask(place, without) == ["TIMEOUT"]
    world.serve(endpoint, type="NodePort", ports=NODE_PORTS)
    for place in (far_client, world.outside):
        assert ask(place, without) == ["e2e-2"]


@pytest.mark.parametrize(
    "type_",
    [
        pytest.param(
            "ClusterIP", marks=upstream("service.go", "should serve endpoints on same port and different protocols")
        ),
        pytest.param(
            "LoadBalancer",
            marks=upstream(
                "service.go",
                "should serve endpoints on same port and different protocol for internal traffic on Type LoadBalancer",
            ),
        ),
    ],
)
@families
def test_one_port_for_two_protocols(world: World, client: Place, type_: str, family: str) -> None:
    balanced = type_ == "LoadBalancer"
    addresses = [VIP[family], *([LOAD_BALANCER[family]] if balanced else [])]
    tcp, udp = BOTH
    for ports in ([tcp, udp], [tcp], [udp]):
        world.serve(
            world.endpoints["e2e-1"],
            type=type_,
            ports=ports,
            ingress=LOAD_BALANCER.values() if balanced else (),
        )
        for address in addresses:
            found = ask(client, Request("http", address, 80, patience=1), Request("udp", address, 80, patience=1))
            assert [answer == "e2e-1" for answer in found] == [tcp in ports, udp in ports]


CYCLES = "should be able to preserve UDP traffic when server pod cycles for a "


def udp_follows(world: World, place: Place, address: str, number: int, pods: list[str], **spec: Any) -> None:
    """A client that sends from one port all the time: the first server answers, then it is gone and the second does."""
    ports = [port(80, "UDP", target=9000, node_port=NODE_PORT if spec.get("type") else 0)]
    asked = Request("udp", address, number, own=12345, patience=1)
    for n, pod in enumerate(pods):
        with world.server(pod, f"pod-server-{n}", [9000]):
            world.serve(world.endpoints[pod], ports=ports, **spec)
            until(lambda n=n: ask(place, asked) == [f"pod-server-{n}"])


@families
@upstream("conntrack.go", CYCLES + "ClusterIP service")
def test_udp_to_a_cluster_ip_follows(world: World, client: Place, family: str) -> None:
    udp_follows(world, client, VIP[family], 80, ["e2e-1", "e2e-2"])


@families
@upstream("conntrack.go", CYCLES + "NodePort service")
def test_udp_to_a_node_port_follows(world: World, client: Place, family: str) -> None:
    for place in (client, world.outside):
        asked = (world.node("w2", family), NODE_PORT)
        udp_follows(world, place, *asked, ["e2e-1", "e2e-2"], type="NodePort")


@families
@upstream("conntrack.go", CYCLES + "ClusterIP service with InternalTrafficPolicy set to Local")
def test_udp_to_a_local_endpoint_follows(world: World, far_client: Place, family: str) -> None:
    udp_follows(world, far_client, VIP[family], 80, ["e2e-2", "e2e-3"], internalTrafficPolicy="Local")


@families
@upstream("conntrack.go", CYCLES + "ClusterIP service and client is hostNetwork")
def test_udp_of_a_node_follows(world: World, family: str) -> None:
    udp_follows(world, world.nodes["w1"], VIP[family], 80, ["e2e-1", "e2e-2"])


@families
@upstream("conntrack.go", "should be able to preserve UDP traffic when initial unready endpoints get ready")
def test_udp_reaches_an_endpoint_that_gets_ready(world: World, client: Place, family: str) -> None:
    for place, asked in (
        (client, Request("udp", VIP[family], 80, own=12345, patience=1)),
        (world.outside, Request("udp", world.node("w2", family), NODE_PORT, own=12345, patience=1)),
    ):
        world.serve(world.endpoints["e2e-1"].unready(), type="NodePort", ports=NODE_PORTS)
        until(lambda place=place, asked=asked: ask(place, asked) == ["ECONNREFUSED"])
        world.serve(world.endpoints["e2e-1"], type="NodePort", ports=NODE_PORTS)
        until(lambda place=place, asked=asked: ask(place, asked) == ["e2e-1"])


@pytest.mark.parametrize("way", ["socket", "packet", "outside"])
@upstream(
    "conntrack.go", "proxy implementation should not be vulnerable to the invalid conntrack state bug [Privileged]"
)
def test_a_segment_out_of_the_window_ends_no_connection(world: World, client: Place, way: str) -> None:
    """The control: a reset within the window, sent by the same means, ends it."""
    place, address, number = (
        (world.outside, world.node("w2", "IPv4"), NODE_PORT) if way == "outside" else (client, VIP["IPv4"], 80)
    )
    ports = [port(80, target=9100, node_port=NODE_PORT)]
    world.serve(world.endpoints["e2e-2"], type="NodePort", ports=ports, externalTrafficPolicy="Local")
    for injected, result in (("data", "held"), ("reset", "ECONNRESET")):
        boom = start(world.pods["e2e-2"], INVALID_SERVER, injected, "9100")
        done = place.run("python3", "-Ic", INVALID_CLIENT, address, str(number), hooked=way != "packet")
        end(boom)
        assert done.stdout.strip() == result, done.stderr


@granular("should function for pod-Service")
def test_pod_to_service(world: World, client: Place, family: str, kind: str) -> None:
    reach_all(world, client, family, kind)


@granular("should function for node-Service")
def test_node_to_service(world: World, family: str, kind: str) -> None:
    reach_all(world, world.nodes["w1"], family, kind)


@granular("should function for endpoint-Service")
def test_endpoint_to_service(world: World, family: str, kind: str) -> None:
    reach_all(world, world.pods["e2e-2"], family, kind)


def reach_all(world: World, place: Place, family: str, kind: str) -> None:
    world.serve(*world.endpoints.values(), type="NodePort", ports=NODE_PORTS)
    assert world.hits(place, kind, VIP[family]) == ALL
    for node in ("w1", "w2"):
        assert world.hits(place, kind, world.node(node, family), NODE_PORT) == ALL


@pytest.mark.parametrize(
    ("place", "family"),
    [
        pytest.param(
            place, family, marks=upstream(file, f"should function for {place}-Service: sctp [Feature:SCTPConnectivity]")
        )
        for family, file in MARKED_FAMILIES
        for place in ("pod", "node")
    ],
)
def test_sctp(world: World, client: Place, place: str, family: str) -> None:
    """An association's first packet arrives at the endpoint's own port; further takes SCTP sockets."""
    asker = client if place == "pod" else world.nodes["w1"]
    for number, arrives, first in ((80, True, 5000), (81, False, 6000)):
        world.serve(world.endpoints["e2e-2"], ports=[port(number, "SCTP", target=8080)])
        watch = start(world.pods["e2e-2"], SCTP_WATCH, "6" if family == "IPv6" else "4")
        for own in range(first, first + 3):  # each an association of its own
            asker.output("python3", "-Ic", SCTP_INIT, VIP[family], "80", str(own))
        assert (watch.communicate(timeout=20)[0].split() == ["8080"]) == arrives


@granular("should update endpoints")
def test_an_endpoint_goes(world: World, client: Place, family: str, kind: str) -> None:
    one, two, three = world.endpoints.values()
    world.serve(one, two, three)
    assert world.hits(client, kind, VIP[family]) == ALL
    world.serve(two, three)
    assert world.hits(client, kind, VIP[family]) == {"e2e-2", "e2e-3"}


@granular("should update nodePort")
def test_a_node_port_goes(world: World, client: Place, family: str, kind: str) -> None:
    for place in (client, world.outside):
        world.serve(*world.endpoints.values(), type="NodePort", ports=NODE_PORTS)
        assert world.hits(place, kind, world.node("w2", family), NODE_PORT) == ALL
        world.serve(*world.endpoints.values(), type="NodePort", ports=BOTH)
        # Not each packet gets an ICMP error: the kernel sends few of them to one address in a second.
        until(lambda: world.answers(place, kind, world.node("w2", family), NODE_PORT) == ["ECONNREFUSED"])  # noqa: B023


@granular("should function for client IP based session affinity")
def test_client_ip_affinity(world: World, client: Place, family: str, kind: str) -> None:
    world.serve(*world.endpoints.values(), type="NodePort", ports=NODE_PORTS, **sticky())
    assert len(world.hits(client, kind, VIP[family])) == 1
    for place in (client, world.outside):
        assert len(world.hits(place, kind, world.node("w2", family), NODE_PORT)) == 1


@granular("should be able to handle large requests")
def test_large_requests(world: World, client: Place, family: str, kind: str) -> None:
    world.serve(world.endpoints["e2e-2"], type="NodePort", ports=NODE_PORTS)
    text = "x" * 2000
    for place, address, number in (
        (client, VIP[family], 80),
        (client, world.node("w2", family), NODE_PORT),
        (world.outside, world.node("w1", family), NODE_PORT),
    ):
        assert world.answers(place, kind, address, number, text=f"echo/{text}") == [text]


@granular("should function for service endpoints using hostNetwork")
def test_endpoints_on_the_host_network(world: World, client: Place, family: str, kind: str) -> None:
    ports = [port(80, protocol, HOST_PORT, NODE_PORT) for protocol in ("TCP", "UDP")]
    world.serve(world.on_host, type="NodePort", ports=ports)
    for place in (client, world.pods["client-2"], world.nodes["w1"], world.nodes["w2"]):
        assert world.hits(place, kind, VIP[family], times=3) == {"w2"}
        assert world.hits(place, kind, world.node("w1", family), NODE_PORT, 3) == {"w2"}
    for node in ("w1", "w2"):
        assert world.hits(world.outside, kind, world.node(node, family), NODE_PORT, 3) == {"w2"}


@upstream("networking.go", "should check kube-proxy urls")
def test_kube_proxys_urls(world: World) -> None:
    node = world.nodes["w1"]
    assert node.output("curl", "-sf", "--max-time", "5", "http://127.0.0.1:10249/proxyMode") == "socklb"
    assert "lastUpdated" in node.output("curl", "-sf", "--max-time", "5", "http://127.0.0.1:10256/healthz")


@upstream("networking.go", "should recreate its iptables rules if they are deleted [Disruptive]")
def test_deleted_rules_are_made_again(world: World) -> None:
    """Here programs: without their pins they serve on, for the agent holds them."""
    world.serve(*world.endpoints.values(), type="NodePort", ports=NODE_PORTS)
    node, pins = world.nodes["w1"], "/sys/fs/bpf/socklb/v*/tc/links/"
    asked = Request("http", world.node("w1", "IPv4"), NODE_PORT, patience=1)
    before = node.output("sh", "-c", f"ls {pins}")
    node.output("sh", "-c", f"rm {pins}*")
    assert ask(world.outside, asked)[0] in ALL
    until(lambda: node.output("sh", "-c", f"ls {pins}") == before)
    assert ask(world.outside, asked)[0] in ALL


@pytest.mark.parametrize(
    "of",
    [
        pytest.param(
            of, marks=upstream("dual_stack.go", f"should create service with {','.join(of).lower()} cluster ip")
        )
        for of in (["IPv4"], ["IPv6"], ["IPv4", "IPv6"], ["IPv6", "IPv4"])
    ],
    ids=",".join,
)
def test_families_of_a_service(world: World, client: Place, of: list[str]) -> None:
    world.serve(world.endpoints["e2e-2"], clusterIPs=[VIP[family] for family in of], ipFamilies=of)
    for family, address in VIP.items():
        (answer,) = ask(client, Request("http", address, 80, patience=1))
        assert (answer == "e2e-2") == (family in of)


@families
@kinds
@upstream("localhost_nodeports.go", "should proxy localhost NodePort traffic to backends across nodes")
def test_localhost_node_port(world: World, family: str, kind: str) -> None:
    world.serve(*world.endpoints.values(), type="NodePort", ports=NODE_PORTS)
    assert world.hits(world.nodes["w1"], kind, LOOPBACK[family], NODE_PORT) == ALL


@families
@upstream("localhost_nodeports.go", "should honor sessionAffinity=ClientIP for localhost NodePort")
def test_localhost_node_port_with_affinity(world: World, family: str) -> None:
    world.serve(*world.endpoints.values(), type="NodePort", ports=NODE_PORTS, **sticky())
    assert len(world.hits(world.nodes["w1"], "http", LOOPBACK[family], NODE_PORT, 15)) == 1


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


def balanced(**more: Any) -> dict[str, Any]:
    return {"type": "LoadBalancer", "ports": NODE_PORTS, "ingress": LOAD_BALANCER.values(), **more}


def local(**more: Any) -> dict[str, Any]:
    return balanced(externalTrafficPolicy="Local", healthCheckNodePort=HEALTH_PORT, **more)


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


@families
@upstream("traffic_distribution.go", "should route traffic to an endpoint that is close to the client")
def test_traffic_stays_close(world: World, client: Place, family: str) -> None:
    one, two, three = world.endpoints.values()
    near = [e._replace(hints={"forNodes": [{"name": e.node}]}) for e in (one, two)]
    world.serve(*near)
    assert world.hits(client, "http", VIP[family]) == {"e2e-1"}
    assert world.hits(world.pods["client-2"], "http", VIP[family]) == {"e2e-2"}
    assert world.hits(world.nodes["cp"], "http", VIP[family]) == {"e2e-1", "e2e-2"}
    world.serve(*near, three)
    assert world.hits(client, "http", VIP[family]) == ALL


@families
@upstream("topology_hints.go", "should distribute endpoints evenly")
def test_zone_hints(world: World, client: Place, far_client: Place, family: str) -> None:
    """The controller's hints, each endpoint for the zone it is in: every node of the local cluster is a zone."""
    world.serve(*[e._replace(hints={"forZones": [{"name": e.node}]}) for e in world.endpoints.values()])
    assert world.hits(client, "http", VIP[family]) == {"e2e-1"}
    assert world.hits(far_client, "http", VIP[family]) == {"e2e-2", "e2e-3"}
    assert world.hits(world.nodes["cp"], "http", VIP[family]) == ALL


@families
@upstream(
    "pod_lifecycle.go",
    "should be able to have zero downtime on a Blue Green deployment using Services and Readiness Gates",
)
def test_blue_green(world: World, client: Place, family: str) -> None:
    blue, green, _ = world.endpoints.values()
    world.serve(blue, green.unready())
    running = Asking(client, Request("http", VIP[family], 80, pause=0.01))
    assert world.hits(client, "http", VIP[family], times=6) == {"e2e-1"}
    running.goes_on(100)
    world.serve(blue.unready(), green)
    assert world.hits(client, "http", VIP[family], times=6) == {"e2e-2"}
    running.goes_on(100)
    assert set(running.end()) == {"e2e-1", "e2e-2"}


@upstream("service_cidrs.go", "should create Services and serve on different Service CIDRs")
def test_another_service_cidr(world: World, client: Place) -> None:
    world.serve(world.endpoints["e2e-2"], type="NodePort", clusterIPs=["10.196.196.77"], ports=NODE_PORTS)
    assert world.hits(client, "http", "10.196.196.77", times=3) == {"e2e-2"}
    assert world.hits(client, "http", world.node("w2", "IPv4"), NODE_PORT, 3) == {"e2e-2"}


@upstream("funny_ips.go", "IPv4 Service Type ClusterIP with leading zeros should work interpreted as decimal")
def test_leading_zeros(world: World, client: Place) -> None:
    world.serve(world.endpoints["e2e-2"], clusterIPs=["10.96.000.011"])
    decimal, octal = (Request("http", f"10.96.0.{last}", 80, patience=1) for last in (11, 9))
    answers = ask(client, decimal, octal)
    assert answers[0] == "e2e-2"
    assert answers[1] != "e2e-2"


def test_the_document_has_this_table() -> None:
    page = (ROOT / "docs" / "conformance.md").read_text()
    assert table(dict.fromkeys(behaviours(sys.modules[__name__]), True)) in page
