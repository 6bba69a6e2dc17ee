"""What these tests have in common: parameters, specs of Services, and what is asked again and again."""

from typing import Any

import pytest

from inventory.place import Place
from tests.support.manifests import port
from tests.support.netexec import Request, ask
from tests.support.waiting import until
from tests.support.world import (
    LOAD_BALANCER,
    NODE_PORT,
    NODE_PORTS,
    World,
)

ALL = {"e2e-1", "e2e-2", "e2e-3"}
REFUSED = {"ECONNREFUSED"}
HEALTH_PORT = 31901
CYCLES = "should be able to preserve UDP traffic when server pod cycles for a "

families = pytest.mark.parametrize("family", ["IPv4", "IPv6"])
kinds = pytest.mark.parametrize("kind", ["http", "udp"])


def refused_outside(world: World, asked: Request) -> None:
    """The kernel limits how many ICMP errors, redirects among them, one machine is sent: the first may be withheld."""
    until(lambda: ask(world.outside, asked) == ["ECONNREFUSED"])


def sticky(seconds: int = 10800) -> dict[str, Any]:
    return {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}}


def health(world: World, place: Place, node: str) -> str:
    url = f"http://{world.node(node, 'IPv4')}:{HEALTH_PORT}/"
    return place.run("curl", "-s", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code}", url).stdout


def balanced(**more: Any) -> dict[str, Any]:
    return {"type": "LoadBalancer", "ports": NODE_PORTS, "ingress": LOAD_BALANCER.values(), **more}


def local(**more: Any) -> dict[str, Any]:
    return balanced(externalTrafficPolicy="Local", healthCheckNodePort=HEALTH_PORT, **more)


def udp_follows(world: World, place: Place, address: str, number: int, pods: list[str], **spec: Any) -> None:
    """A client that sends from one port all the time: the first server answers, then it is gone and the second does."""
    ports = [port(80, "UDP", target=9000, node_port=NODE_PORT if spec.get("type") else 0)]
    asked = Request("udp", address, number, own=12345, patience=1)
    for n, pod in enumerate(pods):
        with world.server(pod, f"pod-server-{n}", [9000]):
            world.serve(world.endpoints[pod], ports=ports, **spec)
            until(lambda n=n: ask(place, asked) == [f"pod-server-{n}"])
