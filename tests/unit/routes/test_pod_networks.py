"""socklb/routes/pod_networks.py: what a Node says of its pods' networks is believed within limits."""

from __future__ import annotations

import random
from typing import Any

import pytest

from socklb.api.addresses import Network
from socklb.api.objects import Node
from socklb.routes.pod_networks import PodNetworks
from tests.unit.agent.shapes import node, read

ALLOWED = ["10.244.0.0/16", "fd00:10:244::/56"]


def the_node(name: str, *pods: str, created: str = "2026-01-01T00:00:00Z") -> Node:
    raw = node(name, "192.0.2.1")
    raw["metadata"]["creationTimestamp"] = created
    return read({**raw, "spec": {"podCIDRs": list(pods)}}, Node)


def networks(*nodes: Node) -> PodNetworks:
    found = PodNetworks(ALLOWED)
    found.update({one.key: one for one in nodes})
    return found


def held(found: PodNetworks) -> dict[str, str]:
    return {str(network): name for network, name in found.held.items()}


@pytest.mark.parametrize(
    "network",
    [
        "128.0.0.0/1",
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.245.0.0/24",
        "192.0.2.0/24",
        "::/0",
        "fd00::/8",
        "::ffff:10.244.1.0/120",
    ],
)
def test_what_is_not_within_the_configured_networks_is_refused(network: str) -> None:
    found = networks(the_node("w2", network, "10.244.2.0/24"))
    if network.startswith("::ffff"):  # the same as 10.244.1.0/24, as the kernel spells it
        return
    assert held(found) == {"10.244.2.0/24": "w2"}
    (reason,) = found.refused["w2"]
    assert reason == f"{network} is not within pod_cidrs (10.244.0.0/16, fd00:10:244::/56)"


@pytest.mark.parametrize("network", ["10.244.3.0/24", "10.244.3.128/25", "10.244.0.0/16", "10.244.2.0/23"])
@pytest.mark.parametrize("name", ["a1", "w9"])
def test_a_network_of_another_node_or_a_part_of_it_is_refused(name: str, network: str) -> None:
    found = networks(the_node("w3", "10.244.3.0/24"))
    found.update({name: the_node(name, network, "10.244.9.0/24", created="2020-01-01T00:00:00Z")})
    assert held(found) == {"10.244.3.0/24": "w3", "10.244.9.0/24": name}
    assert found.refused == {name: [f"{network} overlaps 10.244.3.0/24 of Node w3, which had it first"]}


def test_of_nodes_that_come_together_the_first_created_has_it() -> None:
    old, new = the_node("w9", "10.244.3.0/24"), the_node("w1", "10.244.3.0/25", created="2026-02-01T00:00:00Z")
    assert held(networks(old, new)) == held(networks(new, old)) == {"10.244.3.0/24": "w9"}


def test_a_node_that_is_created_anew_does_not_get_what_another_has() -> None:
    found = networks(the_node("a1", "10.244.1.0/24"), the_node("w3", "10.244.3.0/24"))
    found.update({"a1": None})
    found.update({"a1": the_node("a1", "10.244.3.0/24", created="2026-03-01T00:00:00Z")})
    assert held(found) == {"10.244.3.0/24": "w3"}


def test_a_network_that_is_given_up_goes_to_who_waited_for_it() -> None:
    found = networks(the_node("w3", "10.244.3.0/24"))
    found.update({"w4": the_node("w4", "10.244.3.0/24")})
    found.update({"w3": the_node("w3", "10.244.5.0/24")})
    assert held(found) == {"10.244.5.0/24": "w3", "10.244.3.0/24": "w4"}
    assert found.refused == {}


def test_a_node_that_takes_over_a_network_in_the_same_step_gets_it() -> None:
    found = networks(the_node("w3", "10.244.3.0/24"))
    found.update({"w4": the_node("w4", "10.244.3.0/24"), "w3": None})
    assert held(found) == {"10.244.3.0/24": "w4"}


def test_a_node_may_say_the_same_twice_and_change_its_mind() -> None:
    found = networks(the_node("w3", "10.244.3.0/24", "10.244.3.0/24", "fd00:10:244:3::/64"))
    assert held(found) == {"10.244.3.0/24": "w3", "fd00:10:244:3::/64": "w3"}
    found.update({"w3": the_node("w3", "10.244.2.0/23")})
    assert held(found) == {"10.244.2.0/23": "w3"}
    found.update({"w3": None})
    assert (found.held, found.refused) == ({}, {})


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_no_two_overlap_and_who_has_one_keeps_it(seed: int) -> None:
    chance = random.Random(seed)
    found = PodNetworks(["10.244.0.0/20"])
    for _ in range(200):
        names = chance.sample("abcdefgh", chance.randint(1, 3))
        before = dict(found.held)
        asked: dict[str, Any] = {}
        for name in names:
            bits = chance.randint(19, 26)
            places = [f"10.244.{chance.randrange(20)}.{chance.randrange(0, 256, 64)}/{bits}" for _ in range(2)]
            asked[name] = the_node(name, *places) if chance.random() < 0.8 else None
        found.update(asked)
        for network, name in found.held.items():
            for other in found.held:
                wide, narrow = sorted((network, other), key=lambda one: one.bits)
                assert network == other or not wide.has(narrow.address)
            assert Network.parse("10.244.0.0/20").has(network.address)
            assert name not in asked or network in map(Network.parse, asked[name].spec.podCIDRs)
        for network, name in before.items():
            kept = name not in asked or (asked[name] and network in map(Network.parse, asked[name].spec.podCIDRs))
            assert not kept or found.held[network] == name
