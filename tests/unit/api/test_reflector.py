"""socklb/api/reflector.py against a server that misbehaves: how often it is asked, and for what."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from socklb.api import follower, lists, reflector
from socklb.api.failures import ApiError
from socklb.api.reflector import Reflector
from socklb.api.resources import RESOURCES, Resource
from tests.support.waiting import until
from tests.unit.agent.api_server import ApiServer, Reply, Request, bookmark, event, page, status, stream

SERVICES, SLICES, _, CIDRS = RESOURCES
WEB = {"metadata": {"name": "web", "resourceVersion": "5"}}
NO_STREAMS = status(422, "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled")
GONE = status(410, "too old resource version")


class Told:
    """What a reflector tells."""

    def __init__(self, *, reads: Callable[[bytes], bytes] = bytes, tells: Callable[[], None] = lambda: None) -> None:
        self._reads, self._tells = reads, tells
        self.lists: list[list[bytes]] = []
        self.changes: list[bytes] = []
        self.failures: list[tuple[ApiError, float, bool]] = []
        self.recovered = 0

    def read(self, resource: Resource, raw: bytes) -> bytes:
        return self._reads(raw)

    def replaced(self, resource: Resource, found: list[bytes]) -> None:
        self._tells()
        self.lists.append(list(found))

    def changed(self, found: bytes, *, gone: bool) -> None:
        self._tells()
        self.changes.append(found)

    def lost(self, resource: Resource, names: Any) -> None:
        raise AssertionError(names)

    def reached(self, resource: Resource) -> None:
        self.recovered += 1

    def failed(self, resource: Resource, error: ApiError, retry: float, *, without: bool) -> None:
        self.failures.append((error, retry, without))


@contextmanager
def running(server: ApiServer, folder: Path, told: Told, resource: Resource = SERVICES) -> Iterator[threading.Thread]:
    one = Reflector(resource, server.connection(folder), told)
    thread = threading.Thread(target=one.run, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        one.stop()
        thread.join(5)
        assert not thread.is_alive()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are tried again soon: for tests that are not about when."""
    monkeypatch.setattr(follower, "RETRY_FIRST", 0.02)
    monkeypatch.setattr(follower, "RETRY_MOST", 0.05)


@pytest.mark.parametrize(
    "ends",
    [
        pytest.param(lambda _: Reply(b""), id="with 200 and at once"),
        pytest.param(lambda _: Reply(bookmark(2)), id="after a bookmark"),
        pytest.param(lambda _: Reply(event("MODIFIED", WEB)), id="after an event"),
        pytest.param(lambda _: GONE, id="with 410"),
        pytest.param(lambda _: Reply(event("ERROR", GONE.body)), id="with 410 as an event"),
        pytest.param(lambda _: status(429, "too many"), id="with 429"),
        pytest.param(lambda _: status(500), id="with 500"),
        pytest.param(lambda _: Reply(b"nonsense\n"), id="with nonsense"),
    ],
)
def test_a_server_that_ends_every_watch_is_asked_a_few_times(tmp_path: Path, ends: Callable[[Request], Reply]) -> None:
    """353 and 3,650 requests in 4 s, before; client-go's back-off makes three."""
    told = Told()
    with ApiServer(lambda request: Reply(stream(WEB)) if request.streams else ends(request)) as server:
        with running(server, tmp_path, told):
            until(lambda: len(server.asked) >= 2)
            time.sleep(2)
        assert len(server.asked) <= 4
    assert told.failures


def test_a_server_that_answers_410_to_everything_is_asked_a_few_times(tmp_path: Path) -> None:
    told = Told()
    with ApiServer(lambda _: GONE) as server, running(server, tmp_path, told):
        until(lambda: len(server.asked) >= 2)
        time.sleep(2)
        assert len(server.asked) <= 3


def test_waits_grow_from_one_failure_to_the_next(tmp_path: Path) -> None:
    told = Told()
    with ApiServer(lambda _: status(500)) as server, running(server, tmp_path, told):
        until(lambda: len(server.asked) == 3)
        first, second = (retry for _, retry, _ in told.failures[:2])
    assert 0.8 <= first < 2
    assert 1.6 <= second < 3.6
    asked = [request.at for request in server.asked]
    assert all(
        after - before >= retry - 0.05
        for (before, after), retry in zip(itertools.pairwise(asked), (first, second), strict=True)
    )


def test_a_watch_that_lived_and_ended_is_asked_for_again_at_once(tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        def body() -> Iterator[bytes]:
            yield from stream(WEB) if request.streams else ()
            server.stopped.wait(2)

        return Reply(body())

    told = Told()
    with ApiServer(answer) as server, running(server, tmp_path, told):
        until(lambda: len(server.asked) == 3)
        times = [request.at for request in server.asked]
        assert [request.query.get("resourceVersion") for request in server.asked] == [None, "1", "1"]
    assert max(after - before for before, after in itertools.pairwise(times)) < 2.7
    assert told.failures == []


def test_after_410_all_is_listed_anew(tmp_path: Path, soon: None) -> None:
    def answer(request: Request) -> Reply:
        if request.streams:
            return Reply(stream(WEB, version=len(server.asked)))
        return GONE if len(server.asked) < 4 else Reply(server.hold())

    told = Told()
    with ApiServer(answer) as server, running(server, tmp_path, told):
        until(lambda: len(server.asked) == 4)
        assert [request.streams for request in server.asked] == [True, False, True, False]
        assert len(told.lists) == 2


def test_one_410_is_no_trouble_and_a_second_is(tmp_path: Path, soon: None) -> None:
    told = Told()
    with ApiServer(lambda _: GONE) as server, running(server, tmp_path, told):
        until(lambda: len(server.asked) == 2)
        until(lambda: told.failures)
    assert told.failures[0][0].status == 410


@pytest.mark.parametrize(
    ("headers", "most"),
    [("99999999999999", 60), ("86400", 60), ("9" * 400, 60), ("7", 7), ("-1", 2), ("soon", 2), ("٣", 2)],
)
def test_what_a_server_wants_to_be_left_alone_is_a_minute_at_most(tmp_path: Path, headers: str, most: float) -> None:
    told = Told()
    with (
        ApiServer(lambda _: status(429, headers={"retry-after": headers} if headers.isascii() else {})) as server,
        running(server, tmp_path, told) as thread,
    ):
        until(lambda: told.failures)
        assert thread.is_alive()
    assert most / 3 <= told.failures[0][1] <= most


@pytest.mark.parametrize("where", ["read", "tell"])
def test_a_bug_in_what_is_told_is_a_failure_like_any_other(tmp_path: Path, soon: None, where: str) -> None:
    fails = [True, True]

    def act(raw: bytes = b"") -> bytes:
        if fails:
            fails.pop()
            raise LookupError("a bug")
        return raw

    def answer(request: Request) -> Reply:
        return Reply(_stream_and_hold(server))

    told = Told(reads=act) if where == "read" else Told(tells=lambda: act() and None)
    with ApiServer(answer) as server, running(server, tmp_path, told) as thread:
        until(lambda: told.lists)
        assert thread.is_alive()
        assert "LookupError: a bug" in str(told.failures[0][0])
        assert len(told.failures) == 2
        until(lambda: told.recovered == 1)


def _stream_and_hold(server: ApiServer) -> Iterator[bytes]:
    yield from stream(WEB)
    yield from server.hold()


def test_a_failure_that_cannot_even_be_told_does_not_end_the_thread(
    tmp_path: Path, soon: None, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    told.failed = lambda *_, **__: 1 / 0  # type: ignore[method-assign,return-value]
    with ApiServer(lambda _: status(500)) as server, running(server, tmp_path, told) as thread:
        until(lambda: len(server.asked) > 3)
        assert thread.is_alive()
    assert "a failure could not be told" in caplog.text


@pytest.mark.parametrize("code", [400, 422])
def test_lists_in_pages_are_asked_of_the_cache(tmp_path: Path, code: int) -> None:
    def answer(request: Request) -> Reply:
        if request.streams:
            return status(code, "sendInitialEvents is forbidden")
        if request.watches:
            return Reply(server.hold())
        return page(WEB, more="" if "continue" in request.query else "two", version=7)

    told = Told()
    with ApiServer(answer) as server, running(server, tmp_path, told):
        until(lambda: len(server.asked) == 4)
        _, first, second, watch = (request.query for request in server.asked)
        assert (first["resourceVersion"], first["limit"], "continue" in first) == ("0", "500", False)
        assert (second["continue"], second["limit"], "resourceVersion" in second) == ("two", "500", False)
        assert watch["resourceVersion"] == "7"
        assert len(told.lists[0]) == 2
        assert told.failures == []


def test_a_page_that_is_forgotten_makes_a_whole_list(tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        if request.streams:
            return NO_STREAMS
        if request.watches:
            return Reply(server.hold())
        if "continue" in request.query:
            return GONE
        return page(WEB, more="two") if "limit" in request.query else page(WEB, WEB)

    told = Told()
    with ApiServer(answer) as server, running(server, tmp_path, told):
        until(lambda: told.lists)
        whole = server.asked[3].query
        assert (whole["resourceVersion"], "limit" in whole, "continue" in whole) == ("0", False, False)
        assert len(told.lists[0]) == 2
        assert told.failures == []


def test_a_list_in_pages_after_a_watch_is_no_older_than_what_was_seen(tmp_path: Path, soon: None) -> None:
    def answer(request: Request) -> Reply:
        if request.streams:
            return NO_STREAMS
        if request.watches:
            return Reply(iter([event("ADDED", WEB), event("ERROR", GONE.body)]))
        if request.query["resourceVersion"] == "5":
            causes = {"details": {"causes": [{"reason": "ResourceVersionTooLarge"}]}}
            return status(504, "Too large resource version: 5, current: 3", body=causes)
        return page(WEB)

    with ApiServer(answer) as server, running(server, tmp_path, Told()):
        until(lambda: len([request for request in server.asked if not request.watches]) == 3)
        lists_ = [request.query for request in server.asked if not request.watches]
        assert [query["resourceVersion"] for query in lists_] == ["0", "5", "0"]  # its etcd was restored: any will do


def test_streams_are_tried_again_later(tmp_path: Path, soon: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "STREAMS_AGAIN", 0.3)

    def answer(request: Request) -> Reply:
        if request.streams:
            return NO_STREAMS
        return GONE if request.watches else page(WEB)

    with ApiServer(answer) as server, running(server, tmp_path, Told()):
        until(lambda: len([one for one in server.asked if one.streams]) == 2)
        between = [one for one in server.asked if not one.watches]
        assert len(between) > 1


@pytest.mark.parametrize("what", ["the answer", "the first event"])
def test_an_answer_that_is_late_is_waited_for(tmp_path: Path, what: str) -> None:
    """Priority and fairness holds a question until it is its turn: that is no reason to ask for something else."""

    def answer(request: Request) -> Reply:
        def body() -> Iterator[bytes]:
            if what == "the first event":
                server.stopped.wait(7)
            yield from _stream_and_hold(server)

        if what == "the answer":
            server.stopped.wait(7)
        return Reply(body())

    told = Told()
    with ApiServer(answer) as server, running(server, tmp_path, told):
        until(lambda: told.lists, 15)
        assert len(server.asked) == 1
        assert told.failures == []


def test_a_list_as_a_stream_that_stalls_is_asked_for_again_as_a_stream(
    tmp_path: Path, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflector, "STREAM_SILENCE", 0.3)

    def answer(request: Request) -> Reply:
        def stalls() -> Iterator[bytes]:
            yield event("ADDED", WEB)
            yield from server.hold()

        return Reply(stalls() if len(server.asked) == 1 else _stream_and_hold(server))

    told = Told()
    with ApiServer(answer) as server, running(server, tmp_path, told):
        until(lambda: told.lists)
        assert [request.streams for request in server.asked] == [True, True]
        assert "it stopped answering" in str(told.failures[0][0])


@pytest.mark.parametrize("code", [403, 404])
def test_what_is_optional_and_refused_is_asked_for_again_after_minutes(tmp_path: Path, code: int) -> None:
    told = Told()
    with ApiServer(lambda _: status(code)) as server, running(server, tmp_path, told, CIDRS):
        until(lambda: told.failures)
        (_, retry, without) = told.failures[0]
        assert without
        assert retry == 300
        time.sleep(0.5)
        assert len(server.asked) == 1


def test_what_is_optional_keeps_nothing_waiting_however_it_fails(tmp_path: Path, soon: None) -> None:
    told = Told()
    with ApiServer(lambda _: status(503)) as server, running(server, tmp_path, told, CIDRS):
        until(lambda: any(without for _, _, without in told.failures))
        assert [without for _, _, without in told.failures[:3]] == [False, False, True]


def test_what_is_not_optional_is_never_done_without(tmp_path: Path, soon: None) -> None:
    told = Told()
    with ApiServer(lambda _: status(403)) as server, running(server, tmp_path, told):
        until(lambda: len(told.failures) > 4)
        assert not any(without for _, _, without in told.failures)


def test_the_same_list_serves_servers_without_streams_for_what_is_optional(tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        if request.streams:
            return NO_STREAMS
        return Reply(server.hold()) if request.watches else page(WEB)

    told = Told()
    with ApiServer(answer) as server, running(server, tmp_path, told, CIDRS):
        until(lambda: told.lists)
        assert told.failures == []


def test_recovery_is_told_when_a_watch_proved_to_work(tmp_path: Path, soon: None) -> None:
    """Not by a 200 alone: a server that ends every watch would make a line a try, each way."""

    def answer(request: Request) -> Reply:
        if request.streams:
            return Reply(stream(WEB))
        return Reply(b"") if len(server.asked) < 6 else Reply(server.hold())

    told = Told()
    with ApiServer(answer) as server, running(server, tmp_path, told):
        until(lambda: len(server.asked) == 6)
        assert told.recovered == 0
        until(lambda: told.recovered == 1)


def test_a_half_read_event_or_json_of_another_kind_is_a_failure(tmp_path: Path, soon: None) -> None:
    bodies: list[bytes] = [b'{"type":"ADDED"', b"[]\n", b"\xff\xfe\n", event("ERROR", {"code": "x"}), b'{"type":1}\n']

    def answer(request: Request) -> Reply:
        number = len(server.asked)
        return Reply(bodies[number - 1]) if number <= len(bodies) else Reply(_stream_and_hold(server))

    told = Told()
    with ApiServer(answer) as server, running(server, tmp_path, told):
        until(lambda: told.lists)
        assert len(told.failures) == len(bodies)


def test_events_that_are_not_sent_in_chunks_arrive_as_they_come(tmp_path: Path) -> None:
    """As some proxies send them."""

    def answer(request: Request) -> Reply:
        return Reply(_stream_and_hold(server), chunked=False)

    told = Told()
    with ApiServer(answer) as server, running(server, tmp_path, told):
        until(lambda: told.lists)


@pytest.mark.parametrize("code", [302, 404, 429])
def test_a_server_that_answers_and_does_not_serve_is_left_for_another(tmp_path: Path, soon: None, code: int) -> None:
    told = Told()
    with ApiServer(lambda _: status(code)) as ill, ApiServer(lambda _: Reply(_stream_and_hold(well))) as well:
        connection = ill.connection(tmp_path, ill.url, well.url)
        connection.failed(well.url)  # at random, it may have begun there
        one = Reflector(SERVICES, connection, told)
        thread = threading.Thread(target=one.run, daemon=True)
        thread.start()
        until(lambda: told.lists)
        one.stop()
        thread.join(5)
        assert len(ill.asked) == 3
