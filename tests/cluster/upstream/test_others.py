"""Upstream's traffic_distribution.go, topology_hints.go, pod_lifecycle.go, service_cidrs.go, funny_ips.go."""

from inventory.place import Place
from tests.cluster.upstream.shared import ALL, families
from tests.support.conformance import upstream
from tests.support.netexec import Asking, Request, ask
from tests.support.world import (
    NODE_PORT,
    NODE_PORTS,
    VIP,
    World,
)


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
