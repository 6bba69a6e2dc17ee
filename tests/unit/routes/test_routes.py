"""socklb/routes/node_routes.py: which routes the Nodes ask for, and how to get there."""

from typing import Any

import pytest

from socklb.api.objects import Node
from socklb.config import Config
from socklb.desired.store import ObjectStore
from socklb.routes.node_routes import PROTOCOL, NodeRoutes, Route, changes, pod_routes
from tests.unit.agent.shapes import gone, node, present, read


def the_node(name: str, *addresses: str, pods: tuple[str, ...] = (), **more: Any) -> Node:
    return read({**node(name, *addresses, **more), "spec": {"podCIDRs": list(pods)}}, Node)


W2 = the_node("w2", "172.18.0.4", "fd00:172:18::4", pods=("10.244.2.0/24", "fd00:10:244:2::/64"))
W3 = the_node("w3", "172.18.0.5", pods=("10.244.3.0/24", "fd00:10:244:3::/64"))


PODS = ("10.244.0.0/16", "fd00:10:244::/56")


def ours(gateway: str) -> Route:
    return Route(gateway, PROTOCOL)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(W2, {"10.244.2.0/24": "172.18.0.4", "fd00:10:244:2::/64": "fd00:172:18::4"}, id="both families"),
        pytest.param(W3, {"10.244.3.0/24": "172.18.0.5"}, id="a family without an address has no route"),
        pytest.param(the_node("new", "172.18.0.6"), {}, id="no CIDRs yet"),
        pytest.param(the_node("out", "192.0.2.1", kind="ExternalIP", pods=("10.244.4.0/24",)), {}, id="no internal"),
        pytest.param(
            the_node("two", "172.18.0.7", "172.19.0.7", pods=("10.244.5.0/24",)),
            {"10.244.5.0/24": "172.18.0.7"},
            id="the first address",
        ),
    ],
)
def test_a_nodes_pods_are_reached_by_its_internal_address_of_the_same_family(
    found: Node, expected: dict[str, str]
) -> None:
    assert pod_routes(found) == expected


def wanted(*steps: Any) -> dict[str, str]:
    """What is wanted after these changes; the kernel is not touched while `node_routes` is off."""
    routes, state = NodeRoutes(Config(node="w1", manifests="/nowhere", node_routes=True, pod_cidrs=PODS)), ObjectStore()
    routes.repair = lambda: None  # type: ignore[method-assign]
    for step in steps:
        routes.update(state, state.apply(step).nodes, complete=True)
    return routes.wanted()


def test_this_nodes_own_pods_need_no_route() -> None:
    assert wanted(present(the_node("w1", "172.18.0.3", pods=("10.244.1.0/24",)), W3)) == {"10.244.3.0/24": "172.18.0.5"}


def test_routes_follow_nodes_that_come_change_and_go() -> None:
    moved = the_node("w3", "172.18.0.50", pods=("10.244.3.0/24",))
    assert wanted(present(W3), present(W2), present(moved)) == {"10.244.3.0/24": "172.18.0.50", **pod_routes(W2)}
    assert wanted(present(W3), present(W2), gone(W3)) == pod_routes(W2)


def test_who_had_a_network_first_keeps_its_route() -> None:
    other = the_node("a9", "172.18.0.9", pods=("10.244.3.0/24", "10.244.3.128/25", "128.0.0.0/1"))
    assert wanted(present(W3), present(other)) == {"10.244.3.0/24": "172.18.0.5"}


def test_our_own_network_is_nobody_elses() -> None:
    own, other = (
        the_node("w1", "172.18.0.3", pods=("10.244.1.0/24",)),
        the_node("a9", "172.18.0.9", pods=("10.244.1.0/25",)),
    )
    assert wanted(present(own), present(other)) == {}


def test_what_a_node_may_not_have_is_a_problem_of_that_node(caplog: pytest.LogCaptureFixture) -> None:
    routes, state = NodeRoutes(Config(node="w1", manifests="/nowhere", node_routes=True, pod_cidrs=PODS)), ObjectStore()
    routes.repair = lambda: None  # type: ignore[method-assign]
    for _ in range(3):
        routes.update(
            state, state.apply(present(the_node("w6", "172.18.0.6", pods=("128.0.0.0/1",)))).nodes, complete=True
        )
    (problem,) = routes.problems
    assert (problem.object, problem.field) == ("Node/w6", "spec.podCIDRs")
    assert problem.message.startswith("no route to it: 128.0.0.0/1 is not within pod_cidrs (10.244.0.0/16")
    assert caplog.text.count("128.0.0.0/1") == 1


def test_without_the_networks_of_all_pods_no_node_is_believed() -> None:
    routes, state = NodeRoutes(Config(node="w1", manifests="/nowhere", node_routes=True)), ObjectStore()
    routes.repair = lambda: 1 / 0  # type: ignore[method-assign,return-value]  # those of an earlier agent stay
    routes.update(state, state.apply(present(W3)).nodes, complete=True)
    (problem,) = routes.problems
    assert "without pod_cidrs every network that a Node names would be believed" in problem.message
    assert 'next: set pod_cidrs to the networks of all pods, as in ["10.244.0.0/16"]' in problem.message


WANTED = {"10.244.3.0/24": "172.18.0.5"}
ADD = f"route replace 10.244.3.0/24 via 172.18.0.5 protocol {PROTOCOL}"


@pytest.mark.parametrize(
    ("there", "prune", "commands"),
    [
        pytest.param({}, True, [ADD], id="missing"),
        pytest.param({"10.244.3.0/24": ours("172.18.0.5")}, True, [], id="there"),
        pytest.param({"10.244.3.0/24": ours("172.18.0.6")}, True, [ADD], id="ours, to elsewhere"),
        pytest.param({"10.244.3.0/24": Route("172.18.0.6", "boot")}, True, [], id="somebody else's"),
        pytest.param(
            {"10.244.3.0/24": ours("172.18.0.5"), "10.244.9.0/24": ours("172.18.0.9")},
            True,
            [f"route delete 10.244.9.0/24 protocol {PROTOCOL}"],
            id="a node that is gone",
        ),
        pytest.param(
            {"10.244.3.0/24": ours("172.18.0.5"), "10.244.9.0/24": ours("172.18.0.9")},
            False,
            [],
            id="not before everything is known",
        ),
        pytest.param(
            {"10.244.3.0/24": ours("172.18.0.5"), "0.0.0.0/0": Route("172.18.0.1", "boot")}, True, [], id="not ours"
        ),
    ],
)
def test_the_commands_lead_to_what_is_wanted_and_touch_nothing_else(
    there: dict[str, Route], prune: bool, commands: list[str]
) -> None:
    assert changes(WANTED, there, prune=prune) == commands


def test_what_took_the_place_of_ours_is_replaced() -> None:
    there = {"10.244.3.0/24": Route("172.18.0.6", "boot")}
    assert changes(WANTED, there, prune=True, ours=["10.244.3.0/24"]) == [ADD]
