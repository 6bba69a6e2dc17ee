"""socklb/api/other_nodes.py: which requests it takes to know all Nodes, and that none is for ever unknown."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from socklb.api import follower, other_nodes
from socklb.api.other_nodes import YOUNG, OtherNodes
from tests.support.waiting import until
from tests.unit.agent.api_server import ApiServer, Reply, Request, page, status, stream, table
from tests.unit.agent.shapes import node

OLD, NEW = "5d", "42s"


class Nodes:
    """Nodes that a server has: age and addresses by name; and what a reader of them was told."""

    def __init__(self, **nodes: tuple[str, str]) -> None:
        self.nodes = nodes
        self.tables = True
        self.known: dict[str, str] = {}
        self.failures: list[str] = []

    def answer(self, request: Request) -> Reply:
        name = request.path.removeprefix("/api/v1/nodes").lstrip("/")
        objects = [node(name, ip) for name, (_, ip) in self.nodes.items()]
        if name:
            return Reply(node(name, self.nodes[name][1])) if name in self.nodes else status(404)
        if request.streams:
            return Reply(stream(*objects))
        if "as=Table" in request.headers["accept"] and self.tables:
            return table(*((name, age, ip) for name, (age, ip) in self.nodes.items()))
        return page(*objects)

    def read(self, resource: object, raw: bytes) -> tuple[str, str]:
        found = json.loads(raw)
        return found["metadata"]["name"], found["status"]["addresses"][0]["address"]

    def replaced(self, resource: object, found: list[tuple[str, str]]) -> None:
        self.known = dict(found)

    def changed(self, found: tuple[str, str], *, gone: bool) -> None:
        assert not gone
        self.known[found[0]] = found[1]

    def lost(self, resource: object, names: Any) -> None:
        for name in names:
            self.known.pop(name, None)

    def reached(self, resource: object) -> None:
        self.failures.clear()

    def failed(self, resource: object, error: Exception, retry: float, *, without: bool) -> None:
        self.failures.append(str(error))

    @property
    def addresses(self) -> dict[str, str]:
        return {name: ip for name, (_, ip) in self.nodes.items()}


@pytest.fixture(autouse=True)
def looks_come_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_nodes, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(follower, "RETRY_FIRST", 0.05)


@contextmanager
def following(nodes: Nodes, folder: Path, but: str = "w1") -> Iterator[tuple[ApiServer, OtherNodes[Any]]]:
    with ApiServer(lambda request: nodes.answer(request)) as server:  # noqa: PLW0108  (tests replace it)
        one = OtherNodes(server.connection(folder), nodes, but=but)
        thread = threading.Thread(target=one.run, daemon=True)
        thread.start()
        try:
            yield server, one
        finally:
            one.stop()
            thread.join(5)
            assert not thread.is_alive()


def paths(server: ApiServer) -> list[str]:
    return [request.path for request in server.asked]


def test_a_quiet_cluster_is_read_once_and_then_looked_at_out_of_the_cache(tmp_path: Path) -> None:
    nodes = Nodes(w1=(OLD, "192.0.2.1"), w2=(OLD, "192.0.2.2"))
    with following(nodes, tmp_path) as (server, _):
        until(lambda: len(server.asked) > 5)
        first, whole, *looks = server.asked
        assert whole.streams
        for look in (first, *looks):
            assert "as=Table" in look.headers["accept"]
            assert look.query == {"resourceVersion": "0", "includeObject": "None"}
        assert not any(look.watches for look in looks)
        assert nodes.known == nodes.addresses


def test_a_node_that_comes_moves_and_goes(tmp_path: Path) -> None:
    nodes = Nodes(w1=(OLD, "192.0.2.1"), w2=(OLD, "192.0.2.2"))
    with following(nodes, tmp_path) as (server, _):
        until(lambda: nodes.known == nodes.addresses)
        nodes.nodes["w3"] = (OLD, "192.0.2.3")
        until(lambda: nodes.known == nodes.addresses)
        nodes.nodes["w2"] = (OLD, "192.0.2.22")
        until(lambda: nodes.known == nodes.addresses)
        del nodes.nodes["w2"]
        until(lambda: nodes.known == nodes.addresses)
        assert sum(path.count("/nodes/") for path in paths(server)) == 2
        assert sum(request.streams for request in server.asked) == 1


def test_a_young_node_is_read_at_each_look(tmp_path: Path) -> None:
    """It may be another of the same name, or get its podCIDRs only now: the table shows neither."""
    nodes = Nodes(w1=(OLD, "192.0.2.1"), w2=(NEW, "192.0.2.2"))
    with following(nodes, tmp_path) as (server, _):
        until(lambda: paths(server).count("/api/v1/nodes/w2") > 3)


@pytest.mark.parametrize(
    ("age", "young"),
    [("0s", 1), ("119s", 1), ("2m", 1), ("9m59s", 1), ("10m", 1), ("11m", 0), ("3h5m", 0), ("5d", 0), ("2y3d", 0)],
)
def test_young_is_below_ten_minutes(age: str, young: bool) -> None:
    assert (YOUNG.fullmatch(age) is not None) == young


def test_our_own_node_is_not_read(tmp_path: Path) -> None:
    nodes = Nodes(w1=(NEW, "192.0.2.1"), w2=(OLD, "192.0.2.2"))
    with following(nodes, tmp_path) as (server, one):
        until(lambda: len(server.asked) > 5)
        one.wanted(["w1"])
        assert "/api/v1/nodes/w1" not in paths(server)


def test_many_that_are_new_at_once_are_read_at_once(tmp_path: Path) -> None:
    nodes = Nodes(w2=(OLD, "192.0.2.2"))
    with following(nodes, tmp_path) as (server, _):
        until(lambda: nodes.known == nodes.addresses)
        nodes.nodes |= {f"n{i}": (OLD, f"198.51.100.{i}") for i in range(60)}
        until(lambda: nodes.known == nodes.addresses)
        assert not any("/nodes/" in path for path in paths(server))


def test_a_node_that_an_endpoint_names_is_read_without_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_nodes, "LOOK_EVERY", 60.0)
    nodes = Nodes(w2=(OLD, "192.0.2.2"))
    with following(nodes, tmp_path) as (server, one):
        until(lambda: one._seen)
        nodes.nodes["w3"] = (NEW, "192.0.2.3")
        for _ in range(50):
            one.wanted(["w2", "w3", "nowhere", ""])
        until(lambda: nodes.known == nodes.addresses)
        assert paths(server)[2:] == ["/api/v1/nodes/nowhere", "/api/v1/nodes/w3"]


def test_what_a_table_does_not_show_is_found_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_nodes, "WHOLE_EVERY", 0.5)
    monkeypatch.setattr(other_nodes, "WHOLE_PER_NODE", 0.0)
    nodes = Nodes(w2=(OLD, "192.0.2.2"))
    with following(nodes, tmp_path) as (server, _):
        until(lambda: sum(request.streams for request in server.asked) > 2)


def test_a_server_without_tables_gives_nodes(tmp_path: Path) -> None:
    nodes = Nodes(w2=(OLD, "192.0.2.2"))
    nodes.tables = False
    with following(nodes, tmp_path):
        until(lambda: nodes.known == nodes.addresses)
        nodes.nodes["w3"] = (OLD, "192.0.2.3")
        until(lambda: nodes.known == nodes.addresses)
        del nodes.nodes["w2"]
        until(lambda: nodes.known == nodes.addresses)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda _: status(500), id="500"),
        pytest.param(lambda _: Reply(b"{"), id="no JSON"),
        pytest.param(lambda _: Reply({"kind": "Table", "columnDefinitions": [], "rows": []}), id="no columns"),
        pytest.param(lambda _: Reply({"kind": "Table", "columnDefinitions": 7}), id="no table"),
    ],
)
def test_a_failure_is_told_and_tried_again_and_nothing_is_forgotten(
    tmp_path: Path, broken: Callable[[Request], Reply]
) -> None:
    nodes = Nodes(w2=(OLD, "192.0.2.2"))
    well = nodes.answer
    with following(nodes, tmp_path):
        until(lambda: nodes.known == nodes.addresses)
        nodes.answer = broken  # type: ignore[method-assign]
        until(lambda: len(nodes.failures) >= 2)
        assert nodes.known == nodes.addresses
        nodes.answer = well  # type: ignore[method-assign]
        nodes.nodes["w3"] = (OLD, "192.0.2.3")
        until(lambda: nodes.known == nodes.addresses and not nodes.failures)


def test_a_node_that_could_not_be_read_is_read_at_the_next_look(tmp_path: Path) -> None:
    nodes = Nodes(w2=(OLD, "192.0.2.2"))
    well = nodes.answer
    with following(nodes, tmp_path):
        until(lambda: nodes.known == nodes.addresses)
        nodes.answer = lambda request: status(500) if "/nodes/" in request.path else well(request)  # type: ignore[method-assign]
        nodes.nodes["w3"] = (OLD, "192.0.2.3")
        until(lambda: nodes.failures)
        nodes.answer = well  # type: ignore[method-assign]
        until(lambda: nodes.known == nodes.addresses)
