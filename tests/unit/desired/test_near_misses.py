"""Kinds that are not read: those that were probably meant for us are told, the others are passed over."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.unit.agent.following import following, story
from tests.unit.agent.shapes import endpoint_slice, manifest, node, service

SLICE = "EndpointSlice of discovery.k8s.io/v1"
# What stands in place of the right type: apiVersion, kind, the field that is wrong, and what would be right.
NEAR: list[tuple[str, str, str, str]] = [
    ("v1", "service", "kind", "Service of v1"),
    ("v1", "Services", "kind", "Service of v1"),
    ("v1", "Servcie", "kind", "Service of v1"),
    ("core/v1", "Service", "apiVersion", "Service of v1"),
    ("apps/v1", "Service", "apiVersion", "Service of v1"),
    ("v1", "EndpointSlice", "apiVersion", SLICE),
    ("discovery.k8s.io/v1beta1", "EndpointSlice", "apiVersion", SLICE),
    ("discovery.k8s.io/v1", "Endpointslice", "kind", SLICE),
    ("v1", "Endpoints", "kind", SLICE),
    ("networking.k8s.io/v1beta1", "ServiceCIDR", "apiVersion", "ServiceCIDR of networking.k8s.io/v1"),
    ("discovery.k8s.io/v1beta1", "EndpointSliceList", "apiVersion", "EndpointSliceList of discovery.k8s.io/v1"),
    ("v1", "EndpointsList", "kind", "EndpointSliceList of discovery.k8s.io/v1"),
]
OTHERS = [
    ("apps/v1", "Deployment"),
    ("v1", "ServiceAccount"),
    ("v1", "Namespace"),
    ("apiregistration.k8s.io/v1", "APIService"),
    ("serving.knative.dev/v1", "Service"),
    ("longhorn.io/v1beta2", "Node"),
    ("cilium.io/v2alpha1", "CiliumEndpointSlice"),
    ("policy/v1", "PodDisruptionBudget"),
]


def of_type(version: str, kind: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "web"}}


@pytest.mark.parametrize(("version", "kind", "field", "valid"), NEAR)
@story
async def test_a_near_miss_is_one_problem_and_holds_nothing_up(
    tmp_path: Path, version: str, kind: str, field: str, valid: str
) -> None:
    (tmp_path / "web.yaml").write_text(manifest(of_type(version, kind)))
    (tmp_path / "other.yaml").write_text(manifest(service("other")))
    async with following(tmp_path) as follower:
        batch = await follower.next()
        assert (len(batch.changes), batch.complete) == (1, True)
        (problem,) = follower.source.problems
        assert (problem.file, problem.document, problem.field) == ("web.yaml", 1, field)
        assert problem.message == f"{kind} of {version} is not used; valid: {valid}"
        assert problem.object.endswith("/web")


@story
async def test_other_kinds_are_told_to_those_who_debug_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "socklb")
    (tmp_path / "web.yaml").write_text(manifest(*(of_type(*other) for other in OTHERS)))
    async with following(tmp_path) as follower:
        assert (await follower.next()).complete
        assert follower.source.problems == ()
    told = {record.getMessage(): record.levelno for record in caplog.records if "is not used" in record.getMessage()}
    assert told == {f"{kind} of {version} is not used": logging.DEBUG for version, kind in OTHERS}


@story
async def test_what_an_object_said_before_its_kind_was_spoilt_keeps_serving(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(manifest(service(), endpoint_slice()))
    async with following(tmp_path) as follower:
        await follower.next()
        file.write_text(manifest({**service(), "kind": "service"}, endpoint_slice()))
        await follower.until_problems()
        await follower.nothing_more()
        file.write_text(manifest(endpoint_slice()))
        assert await follower.changes() == {"Service/default/web": None}


@pytest.mark.parametrize("bare", [True, False], ids=["items without their type", "items with their type"])
@story
async def test_the_lists_of_an_api_server_say_their_items(tmp_path: Path, bare: bool) -> None:
    def listed(version: str, kind: str, *items: dict[str, Any]) -> dict[str, Any]:
        left_out = {"apiVersion", "kind"} if bare else set[str]()
        said = [{key: value for key, value in item.items() if key not in left_out} for item in items]
        return {"apiVersion": version, "kind": kind, "metadata": {"resourceVersion": "7"}, "items": said}

    lists = [
        listed("v1", "ServiceList", service("a"), service("b")),
        listed("discovery.k8s.io/v1", "EndpointSliceList", endpoint_slice("a")),
        listed("v1", "NodeList", node("w1", "172.18.0.3")),
    ]
    (tmp_path / "web.json").write_text("".join(map(json.dumps, lists)))
    async with following(tmp_path) as follower:
        batch = await follower.next()
        assert [f"{change.kind}/{change.key}" for change in batch.changes] == [
            "EndpointSlice/default/a-ipv4",
            "Node/w1",
            "Service/default/a",
            "Service/default/b",
        ]
        assert (batch.complete, follower.source.problems) == (True, ())


@story
async def test_a_bad_item_of_an_api_servers_list_is_named(tmp_path: Path) -> None:
    bad = service("web", ports=[{"port": 0}])
    del bad["apiVersion"], bad["kind"]
    (tmp_path / "web.yaml").write_text(manifest({"apiVersion": "v1", "kind": "ServiceList", "items": [bad]}))
    async with following(tmp_path) as follower:
        await follower.next()
        (problem,) = follower.source.problems
        assert (problem.object, problem.field) == ("Service/default/web", "items[0].spec.ports[0].port")
