"""An API server that has too much to do, or little to give: it is asked seldom, and the agent never goes deaf."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3

from rig.control_plane import ControlPlane, agent_token
from rig.objects import ACCOUNTS, NODES, SERVICES, node, service
from socklb.api import failures, other_nodes
from socklb.api import follower as follower_module
from socklb.api.cluster import KubernetesApi
from socklb.api.connection import Connection
from tests.kube.following import Follower, following, story
from tests.kube.proxy import Proxy
from tests.kube.wire import Wire
from tests.unit.agent.api_server import Reply

SourceOf = Callable[..., KubernetesApi]
FLOWS = "/apis/flowcontrol.apiserver.k8s.io/v1"
ROLES = "/apis/rbac.authorization.k8s.io/v1"


def limit_accounts(plane: ControlPlane, response: dict[str, Any]) -> None:
    """Give all ServiceAccounts of kube-system one seat together."""
    limited = {"nominalConcurrencyShares": 1, "lendablePercent": 0, "borrowingLimitPercent": 0}
    level = {"type": "Limited", "limited": {**limited, "limitResponse": response}}
    plane.create(f"{FLOWS}/prioritylevelconfigurations", {"metadata": {"name": "tiny"}, "spec": level})
    rule = {
        "subjects": [{"kind": "Group", "group": {"name": "system:serviceaccounts:kube-system"}}],
        "resourceRules": [
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
        ],
    }
    spec = {"priorityLevelConfiguration": {"name": "tiny"}, "matchingPrecedence": 2, "rules": [rule]}
    plane.create(f"{FLOWS}/flowschemas", {"metadata": {"name": "tiny"}, "spec": spec})


@contextmanager
def pressure(plane: ControlPlane) -> Generator[None]:
    """Others of the same flow ask for all Services, from etcd, again and again."""
    stop = threading.Event()
    headers = {"authorization": f"Bearer {agent_token(plane)}", "user-agent": "others"}

    def load() -> None:
        pool = urllib3.PoolManager(ca_certs=str(plane.ca))
        while not stop.is_set():
            pool.request("GET", f"{plane.server}{SERVICES}", headers=headers, retries=False)

    with ThreadPoolExecutor(6) as pool:
        for _ in range(6):
            pool.submit(load)
        try:
            yield
        finally:
            stop.set()


QUEUE = {"type": "Queue", "queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": 200}}


@pytest.mark.parametrize("response", [QUEUE, {"type": "Reject"}], ids=["queues", "rejects"])
@story
async def test_a_server_under_pressure_is_asked_seldom_and_never_for_lists_out_of_etcd(
    own_plane: ControlPlane, source_of: SourceOf, name: str, response: dict[str, Any]
) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: own_plane.create(SERVICES, service(f"{name}-{n}")), range(400)))
    source = source_of(own_plane)
    limit_accounts(own_plane, response)
    with pressure(own_plane):
        await asyncio.sleep(1)
        async with following(source, listed=False) as follower:
            await asyncio.sleep(8)
            asked = [event["requestURI"] for event in own_plane.asked()]
            assert len(asked) < 40, asked
            assert not any("limit=" in uri for uri in asked)
            assert not any(
                uri.startswith("/api/v1/nodes?") and "watch" not in uri and "resourceVersion=0" not in uri
                for uri in asked
            )
            await asyncio.to_thread(own_plane.delete, f"{FLOWS}/flowschemas/tiny")
            await follower.until(lambda: follower.batches)
            await follower.until_there(f"{name}-0", f"{name}-399")
            await follower.until(lambda: source.reach.lost_since is None)
            await follower.until(lambda: source.problems == ())


def half_written_kubeconfig(plane: ControlPlane, token: str) -> Callable[[], None]:
    path = plane.kubeconfig("agent", token)
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    return lambda: path.write_text(whole) and None


def empty_token(plane: ControlPlane, token: str) -> Callable[[], None]:
    path = plane.kubeconfig("agent", "").with_suffix(".token")
    return lambda: path.write_text(token) and None


@pytest.mark.parametrize("half", [half_written_kubeconfig, empty_token])
@story
async def test_credentials_that_are_half_written_when_they_are_needed_are_read_again(
    own_plane: ControlPlane,
    name: str,
    half: Callable[[ControlPlane, str], Callable[[], None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follower_module, "RETRY_MOST", 0.5)
    kubeconfig = own_plane.kubeconfig("agent", agent_token(own_plane))
    with Wire(own_plane.port) as wire:
        source = KubernetesApi(Connection(str(kubeconfig), [wire.server]))
        async with following(source) as follower:
            own_plane.delete(f"{ACCOUNTS}/socklb")
            own_plane.create(ACCOUNTS, {"metadata": {"name": "socklb"}})
            finish = half(own_plane, agent_token(own_plane))
            await follower.until(lambda: refused(wire, follower))
            asked = wire.accepted
            await asyncio.sleep(3)
            assert wire.accepted - asked < 60
            assert source.problems
            finish()
            own_plane.create(SERVICES, service(name))
            await follower.until_there(name)
            await follower.until(lambda: source.problems == ())


def refused(wire: Wire, follower: Follower) -> bool:
    """The server knows a token for ten seconds after its account went."""
    if follower.source.reach.lost_since is None:
        wire.cut()
        wire.mend()
    return any(code in follower.source.reach.reason for code in ("401", "403"))


@story
async def test_a_proxy_that_wants_to_be_left_alone_for_ever_is_asked_again(
    plane: ControlPlane, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert failures.RETRY_AFTER_MOST == 60
    monkeypatch.setattr(failures, "RETRY_AFTER_MOST", 2.0)
    with Proxy(plane) as proxy:
        kubeconfig = plane.kubeconfig("proxied", agent_token(plane), server=proxy.url)
        proxy.refuses = Reply(status=429, headers={"retry-after": "99999999999999"})
        source = KubernetesApi(Connection(str(kubeconfig)))
        async with following(source, listed=False) as follower:
            await follower.until(lambda: len(source.problems) >= 4)
            proxy.refuses = None
            plane.create(SERVICES, service(name))
            await follower.until_there(name)
            assert len(proxy.asked_for("services")) < 6


@story
async def test_rights_without_service_cidrs_serve_all_the_rest(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "WITHOUT_RETRY", 1.0)
    plane.create(ACCOUNTS, {"metadata": {"name": "trimmed"}})
    rules: list[dict[str, Any]] = plane.get(f"{ROLES}/clusterroles/socklb")["rules"]
    trimmed = [rule for rule in rules if "servicecidrs" not in rule["resources"]]
    plane.create(f"{ROLES}/clusterroles", {"metadata": {"name": "trimmed"}, "rules": trimmed})
    binding = {
        "metadata": {"name": "trimmed"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "trimmed"},
        "subjects": [{"kind": "ServiceAccount", "name": "trimmed", "namespace": "kube-system"}],
    }
    plane.create(f"{ROLES}/clusterrolebindings", binding)
    token = plane.create(f"{ACCOUNTS}/trimmed/token", {"spec": {}})["status"]["token"]
    source = KubernetesApi(Connection(str(plane.kubeconfig("trimmed", token))))
    async with following(source) as follower:
        assert follower.names("Service") >= {"kubernetes"}
        assert follower.names("ServiceCIDR") == set()
        await follower.until(lambda: source.problems)
        (problem,) = source.problems
        assert problem.object == "ServiceCIDR"
        assert "cannot" in problem.message
        assert "next: kubectl apply -f deploys/kubernetes/rbac.yaml" in problem.message
        assert source.reach.lost_since is None
        plane.patch(f"{ROLES}/clusterroles/trimmed", {"rules": rules})
        await follower.until_there("kubernetes", kind="ServiceCIDR")
        await follower.until(lambda: source.problems == ())


@story
async def test_a_server_that_is_killed_is_tried_seldom_and_found_again(
    own_plane: ControlPlane, source_of: SourceOf, name: str
) -> None:
    with Wire(own_plane.port) as wire:
        source = source_of(own_plane, wire.server)
        async with following(source) as follower:
            tried = wire.accepted
            await asyncio.to_thread(own_plane.kill, "kube-apiserver")
            await asyncio.sleep(6)
            assert wire.accepted - tried < 25
            assert source.reach.lost_since is not None
            await asyncio.to_thread(own_plane.start, "kube-apiserver")
            own_plane.create(SERVICES, service(name))
            await follower.until_there(name)
            await follower.until(lambda: source.problems == ())


@story
async def test_reports_of_other_kubelets_are_not_sent_to_us_and_other_nodes_are_known(
    plane: ControlPlane, source_of: SourceOf, name: str
) -> None:
    own, other = f"{name}-own", f"{name}-other"
    for one, address in ((own, "192.0.2.1"), (other, "192.0.2.2")):
        plane.create(NODES, node(one))
        addresses = {"addresses": [{"type": "InternalIP", "address": address}]}
        plane.patch(f"{NODES}/{one}/status", {"status": addresses})
    source = source_of(plane, node=own)
    before = len(plane.asked())
    async with following(source) as follower:
        assert {own, other} <= follower.names("Node")
        began = time.monotonic()
        plane.create(NODES, node(f"{name}-new"))
        await follower.until_there(f"{name}-new", kind="Node")
        assert time.monotonic() - began < other_nodes.LOOK_EVERY * 2
        plane.patch(f"{NODES}/{own}", {"metadata": {"labels": {"topology.kubernetes.io/zone": "z9"}}})
        await follower.until(lambda: getattr(follower.objects["Node", own], "zone", "") == "z9")
        plane.delete(f"{NODES}/{other}")
        await follower.until_gone(other, kind="Node")
    asked = [event["requestURI"] for event in plane.asked()[before:]]
    watches = [uri for uri in asked if uri.startswith("/api/v1/nodes?") and "watch=true" in uri]
    own_watches = [uri for uri in watches if "fieldSelector=metadata.name" in uri]
    assert own_watches
    # What is not of our own Node is a list as a stream, and is ended with the list.
    assert all("sendInitialEvents" in uri for uri in watches if uri not in own_watches)
    assert len(watches) - len(own_watches) < 3


def test_the_table_of_nodes_has_what_we_look_at(plane: ControlPlane, name: str, tmp_path: Path) -> None:
    from contextlib import closing

    import msgspec

    plane.create(NODES, node(name))
    status = {
        "addresses": [
            {"type": kind, "address": ip} for kind, ip in (("InternalIP", "192.0.2.7"), ("ExternalIP", "198.51.100.7"))
        ]
    }
    plane.patch(f"{NODES}/{name}/status", {"status": status})
    kubeconfig = plane.kubeconfig("table", agent_token(plane))
    query = {"resourceVersion": "0", "includeObject": "None"}
    answer = Connection(str(kubeconfig)).get(NODES, query, 10, other_nodes.TABLE)
    with closing(answer.response):
        rows = other_nodes.rows_of(msgspec.json.decode(answer.response.read(), type=other_nodes._Table))
    assert rows[name] == other_nodes.Row(("192.0.2.7", "198.51.100.7"), young=True)
