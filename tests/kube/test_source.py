"""What happens at the API arrives: against a real API server, with the rights of rbac.yaml and no others."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from rig.control_plane import ControlPlane
from rig.objects import HEADLESS, NODES, PODS, SERVICES, SLICES, endpoint_slice, node, pod, service
from socklb.api.cluster import KubernetesApi
from socklb.api.marks import ZONE
from socklb.api.objects import EndpointSlice, Node, Service, ServiceCIDR
from socklb.api.reflector import RESOURCES
from tests.kube.following import Follower, following, story

SourceOf = Callable[..., KubernetesApi]


@story
async def test_a_service_that_is_created_changed_and_deleted(
    plane: ControlPlane, source_of: SourceOf, name: str
) -> None:
    async with following(source_of(plane)) as follower:
        plane.create(SERVICES, service(name))
        await follower.until_there(name)
        plane.patch(f"{SERVICES}/{name}", {"spec": {"ports": [{"port": 81}]}})
        await follower.until(lambda: found(follower, name).spec.ports[0].port == 81)
        plane.delete(f"{SERVICES}/{name}")
        await follower.until_gone(name)


@story
async def test_the_first_batch_has_everything_and_says_so(plane: ControlPlane, source_of: SourceOf, name: str) -> None:
    plane.create(SERVICES, service(name))
    plane.create(NODES, node(name, **{ZONE: "z1"}))
    async with following(source_of(plane)) as follower:
        (first,) = follower.batches
        assert first.complete
        assert name in follower.names()
        assert name in follower.names("Node")
        cidrs = follower.objects["ServiceCIDR", "kubernetes"]
        assert isinstance(cidrs, ServiceCIDR)
        assert cidrs.spec.cidrs == ("10.96.0.0/12", "fd00:10:96::/112")
        found_node = follower.objects["Node", name]
        assert isinstance(found_node, Node)
        assert found_node.spec.podCIDRs == ("10.244.7.0/24",)


@story
async def test_a_slice_without_endpoints_is_a_slice(plane: ControlPlane, source_of: SourceOf, name: str) -> None:
    """The server sends `endpoints: null` and `ports: null` for it."""
    async with following(source_of(plane)) as follower:
        empty = {**endpoint_slice(name, name), "endpoints": None, "ports": None}
        plane.create(SLICES, empty)
        await follower.until_there(name, kind="EndpointSlice")
        assert follower.source.problems == ()


@story
async def test_endpoints_of_pods_come_by_the_controller_manager(
    plane: ControlPlane, source_of: SourceOf, name: str
) -> None:
    async with following(source_of(plane)) as follower:
        plane.create(SERVICES, service(name, selector={"app": name}))
        plane.create(NODES, node(name))
        plane.create(PODS, pod(name, name, app=name))
        status = {"phase": "Running", "podIP": "10.244.1.9", "podIPs": [{"ip": "10.244.1.9"}]}
        ready = {**status, "conditions": [{"type": "Ready", "status": "True"}]}
        plane.patch(f"{PODS}/{name}/status", {"status": ready})
        await follower.until(lambda: "10.244.1.9" in addresses(follower, f"default/{name}"))
        plane.delete(f"{PODS}/{name}?gracePeriodSeconds=0")  # no kubelet would end it
        await follower.until(lambda: "10.244.1.9" not in addresses(follower, f"default/{name}"))


@story
async def test_what_is_sent_again_and_says_nothing_new_is_no_change(
    plane: ControlPlane, source_of: SourceOf, name: str
) -> None:
    plane.create(NODES, node(name))
    async with following(source_of(plane)) as follower:
        beat = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}
        plane.patch(f"{NODES}/{name}/status", {"status": {"conditions": [beat]}})
        plane.patch(f"{NODES}/{name}", {"metadata": {"labels": {ZONE: "z2"}}})
        await follower.until(lambda: label(follower, name) == "z2")
        assert len(follower.batches) == 2


@story
async def test_a_label_hands_a_service_to_another_proxy_and_back(
    plane: ControlPlane, source_of: SourceOf, name: str
) -> None:
    plane.create(SERVICES, service(name))
    async with following(source_of(plane)) as follower:
        for own in (HEADLESS, "service.kubernetes.io/service-proxy-name"):
            plane.patch(f"{SERVICES}/{name}", {"metadata": {"labels": {own: "another"}}})
            await follower.until_gone(name)
            plane.patch(f"{SERVICES}/{name}", {"metadata": {"labels": {own: None}}})
            await follower.until_there(name)


@story
async def test_what_happens_while_the_agent_is_busy_is_one_batch(
    plane: ControlPlane, source_of: SourceOf, name: str
) -> None:
    names = [f"{name}-{n}" for n in range(300)]
    async with following(source_of(plane)) as follower:
        with ThreadPoolExecutor(8) as pool:  # the event loop, and so the follower, waits for it
            list(pool.map(partial(create, plane), names))
        await follower.until_there(*names)
        assert len(follower.batches) <= 1 + 5


@pytest.mark.parametrize("streaming", [True, False], ids=["as a stream", "in pages"])
@story
async def test_a_long_list(programs: Path, tmp_path: Path, source_of: SourceOf, name: str, *, streaming: bool) -> None:
    with ControlPlane(programs, tmp_path, streaming_lists=streaming) as plane:
        plane.apply(Path(__file__).parents[2] / "deploys" / "kubernetes" / "rbac.yaml")
        names = [f"{name}-{n}" for n in range(1100)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(partial(create, plane), names))
        async with following(source_of(plane)) as follower:
            assert len(follower.batches) == 1
            assert set(names) <= follower.names()
            asked = [event["requestURI"] for event in plane.asked() if "/api/v1/services?" in event["requestURI"]]
            assert any("sendInitialEvents" in uri for uri in asked)
            pages = [uri for uri in asked if "limit=500" in uri]
            assert all("resourceVersion=0" in uri or "continue=" in uri for uri in pages)  # out of the cache
            assert bool(pages) != streaming
            plane.delete(f"{SERVICES}/{names[0]}")
            await follower.until_gone(names[0])


@story
async def test_an_object_that_misleads_is_named_and_stays_as_it_was(
    plane: ControlPlane, source_of: SourceOf, name: str
) -> None:
    plane.create(NODES, node(name, **{ZONE: "z1"}))
    status = f"{NODES}/{name}/status"
    plane.patch(status, {"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.7"}]}})
    async with following(source_of(plane)) as follower:
        plane.patch(status, {"status": {"addresses": [{"type": "InternalIP", "address": "nowhere"}]}})
        await follower.until(lambda: follower.source.problems)
        (problem,) = follower.source.problems
        assert str(problem).startswith(
            f"Kubernetes API: Node/{name}: status.addresses[0].address: no address ('nowhere')"
        )
        assert len(follower.batches) == 1
        plane.patch(status, {"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.8"}]}})
        await follower.until(lambda: len(follower.batches) == 2)
        assert follower.source.problems == ()


def test_every_kind_is_asked_for_by_the_rights_of_the_manifest(plane: ControlPlane) -> None:
    for resource in RESOURCES:
        group, _, plural = resource.path.rpartition("/")
        words = [plural] if group == "/api/v1" else [f"{plural}.{group.split('/')[2]}"]
        for verb, may in (("list", "yes"), ("watch", "yes"), ("delete", "no"), ("create", "no"), ("update", "no")):
            account = "--as=system:serviceaccount:kube-system:socklb"
            answer = plane.kubectl("auth", "can-i", verb, *words, account, check=False)
            assert answer.strip() == may, (verb, words)


def create(plane: ControlPlane, name: str) -> None:
    plane.create(SERVICES, service(name))


def found(follower: Follower, name: str) -> Service:
    one = follower.objects["Service", f"default/{name}"]
    assert isinstance(one, Service)
    return one


def addresses(follower: Follower, service_key: str) -> set[str]:
    slices = [one for one in follower.objects.values() if isinstance(one, EndpointSlice) and one.service == service_key]
    return {address for one in slices for endpoint in one.endpoints for address in endpoint.addresses}


def label(follower: Follower, name: str) -> str:
    one = follower.objects["Node", name]
    return one.metadata.labels.get(ZONE, "")
