"""Upstream's conntrack.go: UDP follows its endpoints, and what is out of the window ends no connection."""

import pytest

from inventory.place import Place
from tests.cluster.upstream.shared import CYCLES, families, udp_follows
from tests.support.conformance import upstream
from tests.support.manifests import port
from tests.support.netexec import Request, ask, end, start
from tests.support.programs import INVALID_CLIENT, INVALID_SERVER
from tests.support.waiting import until
from tests.support.world import (
    NODE_PORT,
    NODE_PORTS,
    VIP,
    World,
)


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
