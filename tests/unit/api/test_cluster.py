"""socklb/api/cluster.py against servers that fail in part: what is told, when, and how often it is said."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from socklb.agent.supervise import Supervisor
from socklb.api import follower, other_nodes, reading
from socklb.api.asking import hang_up
from socklb.api.backoff import Backoff
from socklb.api.cluster import KubernetesApi
from socklb.api.source import Batch
from tests.support.waiting import until_async
from tests.unit.agent.api_server import ApiServer, Reply, Request, event, status, stream, table
from tests.unit.agent.following import story
from tests.unit.agent.shapes import endpoint, endpoint_slice, node, service

WEB = service()
HERE, THERE = node("w1", "192.0.2.1"), node("w2", "192.0.2.2")


class Cluster:
    """One Service, its slice and two Nodes; `refuse` answers instead, by the plural, where it is set."""

    def __init__(self) -> None:
        self.refuse: dict[str, Callable[[Request], Reply]] = {}
        self.more: dict[str, list[bytes]] = {}  # events after the list, by the plural
        self.server = ApiServer(self.answer)

    def answer(self, request: Request) -> Reply:
        if refuse := self.refuse.get(request.plural):
            return refuse(request)
        if request.plural not in {"services", "endpointslices", "nodes", "servicecidrs"}:
            return Reply(THERE)
        if not request.watches:
            return table(("w1", "5d", "192.0.2.1"), ("w2", "5d", "192.0.2.2"))
        return Reply(self._events(request))

    def _events(self, request: Request) -> Any:
        nodes = [HERE] if "fieldSelector" in request.query else [HERE, THERE]
        objects = {"services": [WEB], "endpointslices": [endpoint_slice()], "nodes": nodes}
        yield from stream(*objects.get(request.plural, [])) if request.streams else ()
        yield from self.more.get(request.plural, [])
        yield from self.server.hold()


@pytest.fixture(autouse=True)
def retries_come_soon(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(follower, "RETRY_FIRST", 0.02)
    monkeypatch.setattr(follower, "RETRY_MOST", 0.05)
    monkeypatch.setattr(other_nodes, "LOOK_EVERY", 0.1)
    caplog.set_level(logging.INFO)


@asynccontextmanager
async def following(cluster: Cluster, folder: Path) -> AsyncIterator[tuple[KubernetesApi, list[Batch]]]:
    with cluster.server as server:
        source = KubernetesApi(server.connection(folder), node="w1")
        batches: list[Batch] = []

        async def pump() -> None:
            async with aclosing(source.batches()) as coming:
                async for batch in coming:
                    batches.append(batch)  # noqa: PERF401  (as it comes)

        task = asyncio.create_task(pump())
        try:
            yield source, batches
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def keys(batches: list[Batch]) -> set[str]:
    return {f"{change.kind}/{change.key}" for batch in batches for change in batch.changes if change.object}


EVERYTHING = {"Service/default/web", "EndpointSlice/default/web-ipv4", "Node/w1", "Node/w2"}


@story
async def test_our_own_node_is_watched_and_no_other(tmp_path: Path) -> None:
    cluster = Cluster()
    async with following(cluster, tmp_path) as (source, batches):
        await until_async(lambda: batches)
        assert keys(batches) == EVERYTHING
        own = [request for request in cluster.server.asked_for("nodes") if "fieldSelector" in request.query]
        assert [request.query["fieldSelector"] for request in own] == ["metadata.name=w1"]
        assert source.problems == ()


@story
async def test_an_optional_kind_that_is_forbidden_holds_nothing_up_and_is_a_problem(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster()
    cluster.refuse["servicecidrs"] = lambda _: status(403, "servicecidrs is forbidden")
    async with following(cluster, tmp_path) as (source, batches):
        await until_async(lambda: batches)
        assert keys(batches) == EVERYTHING
        await until_async(lambda: source.problems)
        (problem,) = source.problems
        assert problem.object == "ServiceCIDR"
        assert "served without, or with what was known: 403: servicecidrs is forbidden" in problem.message
        assert "next: kubectl apply -f deploys/kubernetes/rbac.yaml" in problem.message
        assert source.reach.lost_since is None
    assert caplog.text.count("servicecidrs is forbidden") == 1


@story
async def test_what_was_forbidden_with_all_the_rest_is_asked_for_again_with_it(tmp_path: Path) -> None:
    """As with a token file that is empty for a moment: to the server we are nobody then."""
    cluster = Cluster()
    forbidden = ("services", "endpointslices", "nodes", "servicecidrs")
    cluster.refuse = dict.fromkeys(forbidden, lambda _: status(403, 'User "system:anonymous" cannot list'))
    async with following(cluster, tmp_path) as (source, batches):
        await until_async(lambda: len(source.problems) == 5)
        cluster.refuse.clear()
        await until_async(lambda: batches)
        await until_async(lambda: source.problems == ())


@story
async def test_a_server_that_is_too_old_for_an_optional_kind_is_no_problem(tmp_path: Path) -> None:
    cluster = Cluster()
    cluster.refuse["servicecidrs"] = lambda _: status(404)
    async with following(cluster, tmp_path) as (source, batches):
        await until_async(lambda: batches)
        assert source.problems == ()


@story
async def test_a_kind_that_fails_after_the_first_sync_is_a_problem_until_it_is_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster()
    async with following(cluster, tmp_path) as (source, batches):
        await until_async(lambda: batches)
        cluster.refuse["services"] = lambda _: status(500, "etcd is on fire")
        cluster.more["services"] = [b"nonsense\n"]
        cut("services", source)
        await until_async(lambda: source.problems and source.problems[0].times > 10)
        (problem,) = source.problems
        assert problem.object == "Service"
        assert "cannot be followed: 500: etcd is on fire" in problem.message
        assert problem.first is not None
        assert problem.last is not None
        assert problem.first < problem.last <= time.time()
        assert source.reach.lost_since is not None
        assert caplog.text.count("etcd is on fire") == 1
        cluster.refuse.clear()
        cluster.more.clear()
        await until_async(lambda: source.problems == ())
        assert source.reach.lost_since is None
        assert caplog.text.count("in reach again") == 1
        assert len(batches) == 1


class Slow(Backoff):
    def failed(self, at_least: float = 0.0) -> float:
        super().failed(at_least)
        return 60.0 if self.failures > 1 else 0.05


@pytest.mark.parametrize(
    ("after", "answer", "asked"),
    [
        pytest.param(0.5, status(500), True, id="it was lost for a while"),
        pytest.param(60.0, status(500), False, id="it was lost just now"),
        pytest.param(0.5, status(429, headers={"Retry-After": "60"}), False, id="it is to be left alone"),
    ],
)
@story
async def test_a_kind_is_tried_again_as_soon_as_another_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: float, answer: Reply, asked: bool
) -> None:
    monkeypatch.setattr(follower, "HASTENED", after)
    cluster = Cluster()
    async with following(cluster, tmp_path) as (source, batches):
        await until_async(lambda: batches)
        (slices,) = (one for one in source._followers if one.resource.path.endswith("endpointslices"))
        slices._backoff = Slow(0.02, 0.05, 60.0)
        cluster.refuse = {"services": lambda _: status(500), "endpointslices": lambda _: answer}
        for plural in cluster.refuse:
            cut(plural, source)
        await until_async(lambda: len(source.problems) >= 2 and slices._backoff.failures > 1)
        cluster.refuse.clear()
        await until_async(lambda: len(source.problems) < 2)
        if asked:
            await until_async(lambda: source.problems == ())
        else:
            await asyncio.sleep(2.0)
            assert len(source.problems) == 1


def cut(plural: str, source: KubernetesApi) -> None:
    """Break the watch of one kind."""
    (one,) = (one for one in source._followers if one.resource.path.endswith(plural))
    hang_up(one._asker._response)


@story
async def test_one_object_that_nobody_foresaw_keeps_no_other_from_being_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = reading.check

    def check(found: Any) -> None:
        if found.metadata.name == "bad":
            raise RecursionError("as deep as that")
        real(found)

    monkeypatch.setattr(reading, "check", check)
    cluster = Cluster()
    cluster.more["services"] = [event("ADDED", service("bad"))] * 50
    async with following(cluster, tmp_path) as (source, batches):
        await until_async(lambda: batches)
        await until_async(lambda: source.problems and source.problems[0].times == 50)
        assert keys(batches) == EVERYTHING
        (problem,) = source.problems
        assert problem.object == "Service/default/bad"
        assert "RecursionError: as deep as that" in problem.message


@story
async def test_a_refused_object_that_is_sent_fifty_times_is_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster()
    refused = service("bad", ports=[{"port": 80}, {"port": 80}])
    nameless = {"metadata": {"name": 7}}
    cluster.more["services"] = [event("MODIFIED", refused), event("MODIFIED", nameless)] * 50
    async with following(cluster, tmp_path) as (source, batches):
        await until_async(lambda: batches)
        await until_async(lambda: sum(problem.times for problem in source.problems) == 100)
        assert caplog.text.count("left out") == len(source.problems) == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@story
async def test_what_a_thread_that_ended_followed_is_followed_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, supervisor, batches = Cluster(), Supervisor(), list[Batch]()

    def ends() -> None:
        raise KeyboardInterrupt  # which no `except Exception` takes

    with cluster.server as server:
        source = KubernetesApi(server.connection(tmp_path), node="w1")

        async def follow() -> None:
            async with aclosing(source.batches()) as coming:
                async for batch in coming:
                    batches.append(batch)

        supervisor.keep("source", follow)
        async with supervisor.at_work():
            await until_async(lambda: batches)
            (services,) = (one for one in source._followers if one.resource.path.endswith("services"))
            monkeypatch.setattr(services, "_follow", ends)
            cluster.more["services"] = [event("ADDED", service("new"))]
            cut("services", source)
            await until_async(lambda: supervisor.problems)
            assert "its thread has ended: all is followed anew ('Service')" in supervisor.problems[0].message
            await until_async(lambda: "Service/default/new" in keys(batches))
    assert caplog.text.count("source: failed: its thread has ended") == 1


@story
async def test_a_node_that_an_endpoint_names_is_known_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_nodes, "LOOK_EVERY", 60.0)
    cluster = Cluster()
    async with following(cluster, tmp_path) as (source, batches):
        await until_async(lambda: batches)
        cluster.refuse["w3"] = lambda _: Reply(node("w3", "192.0.2.3"))
        await until_async(lambda: source._others and source._others._seen)
        there = endpoint_slice(name="web-2", endpoints=[endpoint("10.244.3.3", "w3")])
        cluster.more["endpointslices"] = [event("ADDED", there)]
        cut("endpointslices", source)
        await until_async(lambda: "Node/w3" in keys(batches))


@story
async def test_who_begins_again_is_told_everything_again_and_of_what_went(tmp_path: Path) -> None:
    cluster = Cluster()
    with cluster.server as server:
        source = KubernetesApi(server.connection(tmp_path), node="w1")

        async def batches(number: int) -> list[Batch]:
            async with aclosing(source.batches()) as coming:
                return [await anext(coming) for _ in range(number)]

        cluster.more["services"] = [event("ADDED", service("old")), event("DELETED", service("old"))]
        told = await batches(1)
        assert keys(told) >= EVERYTHING
        cluster.more.clear()
        again = await batches(1)
        assert again[0].complete
        assert keys(again) == EVERYTHING
