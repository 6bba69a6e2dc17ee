"""Upstream's networking.go, dual_stack.go, localhost_nodeports.go: pods, nodes and endpoints, in both families."""

import pytest

from inventory.place import Place
from tests.cluster.upstream.shared import ALL, families, kinds, sticky
from tests.support.conformance import upstream
from tests.support.manifests import port
from tests.support.netexec import Request, ask, start
from tests.support.programs import SCTP_INIT, SCTP_WATCH
from tests.support.waiting import until
from tests.support.world import (
    BOTH,
    HOST_PORT,
    LOOPBACK,
    NODE_PORT,
    NODE_PORTS,
    VIP,
    World,
)

MARKED_FAMILIES = (("IPv4", "networking.go"), ("IPv6", "dual_stack.go"))


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
