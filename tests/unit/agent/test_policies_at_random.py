"""Many random cases: policies against a second formulation, plans that followed changes against plans made anew."""

import random
from typing import Any

from socklb.api.objects import EndpointSlice, Node, Service
from socklb.endpoints import Place
from socklb.frontends import Surroundings, plan_service
from tests.unit.agent.changing import Cluster
from tests.unit.agent.shapes import endpoint, gone, packed, present, readable, the_node, the_service, the_slice

NODES, ZONES = ("w1", "w2", "w3"), ("a", "b", "")
ADDRESSES = {node: f"172.18.0.{n}" for n, node in enumerate(NODES, start=3)}


def any_endpoint(dice: random.Random, address: str) -> dict[str, Any]:
    """Half of the hints are complete over a Service by chance: few names, and hints more often than not."""
    conditions = {name: dice.random() < 0.5 for name in ("ready", "serving", "terminating") if dice.random() < 0.8}
    nodes = (dice.choice(NODES),) if dice.random() < 0.8 else ()
    zones = tuple(dice.sample("abc", dice.randint(1, 2))) if dice.random() < 0.8 else ()
    return endpoint(address, dice.choice((*NODES, "")), nodes=nodes, zones=zones, **conditions)


def any_service(dice: random.Random, name: str = "web", *, ip: str = "10.96.0.10", port: int = 32000) -> Service:
    policies = {
        field: dice.choice(("Cluster", "Local"))
        for field in ("internalTrafficPolicy", "externalTrafficPolicy")
        if dice.random() < 0.8
    }
    kind = dice.choice(("ClusterIP", "NodePort", "NodePort", "LoadBalancer", "ExternalName"))
    return the_service(name, type=kind, clusterIPs=[ip], ports=[{"port": 80, "nodePort": port}], **policies)


def any_slice(dice: random.Random, name: str = "web") -> EndpointSlice:
    count = dice.choice((0, 1, 1, 2, 2, 3, 4))
    return the_slice(name, endpoints=[any_endpoint(dice, f"10.1.1.{n}") for n in range(count)])


class Naive:
    """What should be served, endpoint by endpoint, in the words of the Kubernetes documentation."""

    def __init__(self, endpoints: list[dict[str, Any]], zone: str) -> None:
        self.endpoints, self.zone = endpoints, zone

    def is_ready(self, one: dict[str, Any]) -> bool:
        return one.get("conditions", {}).get("ready", True)

    def still_serves(self, one: dict[str, Any]) -> bool:
        conditions = one.get("conditions", {})
        return conditions.get("terminating", False) and conditions.get("serving", conditions.get("ready", True))

    def hints(self, one: dict[str, Any], kind: str) -> set[str]:
        return {hint["name"] for hint in one.get("hints", {}).get(kind, [])}

    def respected(self, kind: str, name: str) -> bool:
        """Whether hints of this kind are complete, and there is one for us."""
        ready = [one for one in self.endpoints if self.is_ready(one)]
        return all(self.hints(one, kind) for one in ready) and any(name in self.hints(one, kind) for one in ready)

    def in_cluster(self, one: dict[str, Any]) -> bool:
        if not any(map(self.is_ready, self.endpoints)):
            return self.still_serves(one)
        if self.respected("forNodes", "w1"):
            return self.is_ready(one) and "w1" in self.hints(one, "forNodes")
        if self.respected("forZones", self.zone):
            return self.is_ready(one) and self.zone in self.hints(one, "forZones")
        return self.is_ready(one)

    def on_node(self, one: dict[str, Any], node: str) -> bool:
        if one.get("nodeName") != node:
            return False
        if any(self.is_ready(other) for other in self.endpoints if other.get("nodeName") == node):
            return self.is_ready(one)
        return self.still_serves(one)

    def frontends(self, spec: Any) -> dict[str, list[str]]:
        everywhere = [one for one in self.endpoints if self.in_cluster(one)]
        local = {node: [one for one in self.endpoints if self.on_node(one, node)] for node in NODES}
        found = {"10.96.0.10:80/TCP": local["w1"] if spec.internalTrafficPolicy == "Local" else everywhere}
        if spec.type != "ClusterIP" and spec.externalTrafficPolicy == "Local":
            found |= {f"{ADDRESSES[node]}:32000/TCP": local[node] for node in NODES}
        elif spec.type != "ClusterIP":
            found["0.0.0.0:32000/TCP"] = everywhere
        return {frontend: [f"{one['addresses'][0]}:8080" for one in chosen] for frontend, chosen in found.items()}


def test_every_service_has_what_a_naive_reading_gives_it() -> None:
    dice = random.Random(1)
    nodes = {node: packed(address) for node, address in ADDRESSES.items()}
    for _ in range(3000):
        endpoints = [any_endpoint(dice, f"10.1.1.{n}") for n in range(dice.randint(0, 4))]
        zone, service = dice.choice(ZONES), any_service(dice)
        found = plan_service(
            service, [the_slice(endpoints=endpoints)], Surroundings(Place("w1", zone), nodes)
        ).frontends
        wanted = {} if service.spec.type == "ExternalName" else Naive(endpoints, zone).frontends(service.spec)
        assert readable(found) == wanted, (endpoints, zone, service.spec)


def test_whatever_changes_the_plan_is_the_one_that_would_be_made_anew() -> None:
    """`Cluster.change` compares, after each of the changes."""
    dice = random.Random(2)
    cluster = Cluster()
    for _ in range(2000):
        batch = [any_object(dice) for _ in range(dice.randint(1, 3))]
        changes = [gone(found) if dice.random() < 0.3 else present(found) for found in batch]
        cluster.change(*changes)


def any_object(dice: random.Random) -> Service | EndpointSlice | Node:
    number = dice.randrange(4)
    match dice.randrange(3):
        case 0:
            return any_service(dice, f"s{number}", ip=f"10.96.0.{number}", port=32000 + number)
        case 1:
            return any_slice(dice, f"s{number}")
        case _:
            addresses = dice.sample((*ADDRESSES.values(), "172.18.0.9"), dice.randint(0, 2))
            return the_node(dice.choice(NODES), *addresses, zone=dice.choice(ZONES))
