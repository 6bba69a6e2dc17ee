"""Which upgrade of Kubernetes may be, and what an interrupted one has still to do: roles/upgrade/judging.py."""

from typing import Any

import pytest

from roles.kubectl import KubernetesNode
from roles.kubernetes_packages.versions import fits, minor
from roles.upgrade.judging import objections, pending

NODES = ["cp", "w1"]


def nodes(kubelet: str = "v1.33.5", **changed: dict[str, Any]) -> dict[str, KubernetesNode]:
    node = KubernetesNode(
        addresses=[], pod_cidrs=[], tainted=False, kubelet=kubelet, ready=True, cordoned=False, upgrading=False
    )
    return {name: node | changed.get(name, {}) for name in NODES}  # type: ignore[misc]


def refused(wanted: str, api: str = "v1.33.5", **changed: dict[str, Any]) -> list[str]:
    return [*objections(wanted, api, nodes(**changed), NODES)]


@pytest.mark.parametrize(
    ("version", "wanted", "whether"),
    [
        ("v1.34.4", "1.34", True),
        ("v1.34.4", "1.34.4", True),
        ("v1.34.4", "1.34.3", False),
        ("v1.33.5", "1.34", False),
        ("v1.34.4-gke.1+x", "1.34.4", True),
        ("v1.3.0", "1.34", False),
        ("", "1.34", False),
    ],
)
def test_a_version_fits_what_is_said_of_it(version: str, wanted: str, whether: bool) -> None:
    assert fits(version, wanted) is whether


def test_what_a_builder_adds_is_not_of_the_version() -> None:
    assert minor("v1.34.4+k3s1") == minor("1.34") == (1, 34)


@pytest.mark.parametrize("wanted", ["1.33", "1.33.5", "1.33.7", "1.34", "v1.34.4"])
def test_the_next_minor_version_and_a_later_patch_may_be(wanted: str) -> None:
    assert refused(wanted) == []


def test_two_minor_versions_at_once_may_not_and_the_one_between_is_named() -> None:
    first, *_ = refused("1.35")
    assert first.startswith("the API server is v1.33.5, and the inventory says 1.35")
    assert 'Next: kubernetes_version="1.34" ' in first


@pytest.mark.parametrize("wanted", ["1.32", "1.33.4"])
def test_an_older_version_may_not(wanted: str) -> None:
    first, *_ = refused(wanted)
    assert "Kubernetes has no downgrade" in first
    assert 'Next: kubernetes_version="1.33" ' in first


def test_no_kubelet_may_be_newer_than_the_api_server_that_is_to_come() -> None:
    (only,) = refused("1.34", w1={"kubelet": "v1.35.0"})
    assert only.startswith("the kubelet of w1 is v1.35.0")
    assert "must not be newer than the API server" in only


def test_one_that_is_newer_than_the_present_api_server_is_what_an_upgrade_mends() -> None:
    assert refused("1.34", w1={"kubelet": "v1.34.4"}) == []


def test_a_kubelet_that_an_earlier_upgrade_has_not_reached_comes_first() -> None:
    (only,) = refused("1.35", api="v1.34.4", cp={"kubelet": "v1.34.4"})
    assert only.startswith("the kubelet of w1 is v1.33.5, and the inventory says 1.35")


@pytest.mark.parametrize(
    ("state", "said"),
    [({"ready": False}, "w1 is not Ready"), ({"cordoned": True}, "Next: kubectl uncordon w1")],
)
def test_a_node_that_is_not_well_stops_it_unless_an_upgrade_has_begun_there(state: dict[str, Any], said: str) -> None:
    (only,) = refused("1.34", w1=state)
    assert said in only
    assert refused("1.34", w1=state | {"upgrading": True}) == []


def test_a_machine_that_never_joined_stops_it() -> None:
    (only,) = objections("1.34", "v1.33.5", nodes(), [*NODES, "w2"])
    assert only.startswith("w2 is no Node of the cluster")


def todo(api: str, **changed: dict[str, Any]) -> list[str]:
    return pending("1.34", api, nodes("v1.34.4", **changed), ["cp"], NODES)


def test_what_is_left_to_do_is_read_from_the_cluster() -> None:
    assert todo("v1.34.4") == []
    assert todo("v1.34.4", w1={"kubelet": "v1.33.5"}) == ["w1"]
    assert todo("v1.34.4", cp={"upgrading": True}) == ["cp"]
    assert todo("v1.33.5") == ["cp"]
    assert todo("v1.33.5", w1={"kubelet": "v1.33.5"}) == NODES
