"""Upstream's service.go: Services of every type, in one cluster and from outside it."""

import pytest

from inventory.place import Place
from tests.cluster.upstream.shared import ALL, REFUSED, families, health, kinds, local, refused_outside, sticky
from tests.support.cluster import deploy
from tests.support.conformance import upstream
from tests.support.manifests import port
from tests.support.netexec import Request, ask
from tests.support.waiting import until
from tests.support.world import (
    BOTH,
    EXTERNAL,
    HOST_PORT,
    LOAD_BALANCER,
    NODE_PORT,
    NODE_PORTS,
    VIP,
    World,
)


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
