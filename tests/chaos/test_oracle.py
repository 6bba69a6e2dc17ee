"""The oracle finds every kind of violation, and says nothing where the history allows what was seen."""

from __future__ import annotations

import pytest

from tests.chaos.history import Event, History, Versions, Window
from tests.chaos.oracle import Oracle
from tests.chaos.services import ALL, Asked

WEB, OTHER = Asked(0, "4"), Asked(1, "4")
FIRST, SECOND, THIRD = WEB.backends[:3]


@pytest.fixture
def history() -> History:
    """FIRST until 10, SECOND from then on: reported applied at 12; all gone at 50, reported at 51."""
    found = History({asked: Versions() for asked in ALL})
    for generation, sent, applied, backends in ((1, 0, 0, {FIRST}), (2, 10, 12, {SECOND}), (3, 50, 51, set[str]())):
        found.versions[WEB].sent(sent, frozenset(backends))
        found.versions[WEB].created(generation)
        found.versions[WEB].reported(generation, applied)
    return found


def event(began: float, got: str, kind: str = "tcp", way: str = "socket", ended: float | None = None) -> Event:
    return Event(began, began + 0.1 if ended is None else ended, kind, way, "a", WEB.number, WEB.family, got)


def judged(history: History, *events: Event) -> list[str]:
    oracle = Oracle(history)
    return [oracle.judge(one).partition(":")[0] for one in events]


ALLOWED = {
    "a backend that is ready": event(5, FIRST),
    "the old one until the change is reported": event(11.9, FIRST),
    "the new one from the moment it is sent": event(10, SECOND),
    "the new one, for an ask that began before": event(9, SECOND, ended=10.5),
    "an error while nobody serves": event(60, "ECONNREFUSED"),
    "an error while perhaps nobody serves": event(50.5, "TIMEOUT"),
    "a kept socket that is about to be moved": event(15, FIRST, "udp-kept"),
    "a kept socket that is told": event(13, "ECONNABORTED", "udp-kept"),
    "a stream whose backend has left the Service": event(40, "alive", "stream alive"),
}
VIOLATIONS = {
    "one whose removal was reported": (event(12.1, FIRST), "removed"),
    "one that was never said": (event(20, THIRD), "removed"),
    "one that is not yet said": (event(5, SECOND), "removed"),
    "one of another Service": (event(5, OTHER.backends[0]), "foreign"),
    "a refusal although somebody is ready": (event(20, "ECONNREFUSED"), "refused"),
    "silence although somebody is ready": (event(20, "TIMEOUT", "udp", "packet"), "refused"),
    "a peer that was not asked": (event(20, f"PEER {SECOND}"), "refused"),
    "a kept socket that nobody moves": (event(40, FIRST, "udp-kept"), "not moved"),
    "a stream that breaks": (event(20, "ECONNRESET", "stream alive"), "stream"),
}


@pytest.mark.parametrize("seen", ALLOWED.values(), ids=ALLOWED)
def test_what_the_history_allows_is_none(history: History, seen: Event) -> None:
    assert judged(history, seen) == [""]


@pytest.mark.parametrize(("seen", "named"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_violation_is_found(history: History, seen: Event, named: str) -> None:
    assert judged(history, seen) == [named]


@pytest.mark.parametrize("seen", VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_fault_excuses_errors_and_never_an_answer_of_somebody_else(history: History, seen: tuple[Event, str]) -> None:
    everything = frozenset({"socket", "packet", "streams"})
    history.windows.append(Window("a fault", everything, 0.0, 45.0))
    found = judged(history, seen[0])
    assert found == ([seen[1]] if seen[1] in {"removed", "foreign"} else [""])


@pytest.mark.parametrize(
    ("hurts", "way", "named"),
    [
        ("socket", "packet", "refused"),
        ("packet", "socket", "refused"),
        ("agent", "socket", "refused"),
        ("packet", "packet", ""),
    ],
)
def test_a_fault_excuses_only_what_it_hurts(history: History, hurts: str, way: str, named: str) -> None:
    history.windows.append(Window("a fault", frozenset({hurts}), 0.0, 30.0))
    assert judged(history, event(20, "TIMEOUT", way=way)) == [named]


def test_a_fault_excuses_nothing_once_all_is_well(history: History) -> None:
    history.windows.append(Window("a fault", frozenset({"socket"}), 0.0, 19.9))
    assert judged(history, event(20, "TIMEOUT"), event(19.8, "TIMEOUT")) == ["refused", ""]


def test_a_stream_by_hooks_survives_what_hurts_hooks(history: History) -> None:
    """After connect() no hook is needed; by packet each packet is translated."""
    history.windows.append(Window("a fault", frozenset({"socket", "packet"}), 0.0, 30.0))
    seen = [event(20, "ECONNRESET", "stream alive", way) for way in ("socket", "packet")]
    assert judged(history, *seen) == ["stream", ""]


def test_a_stream_that_was_opened_while_hooks_were_away_is_served_by_packet(history: History) -> None:
    """The packet path serves what no hook saw, for as long as the stream lives."""
    history.windows.append(Window("hooks detached", frozenset({"socket"}), 18.0, 18.9))
    history.windows.append(Window("programs at devices detached", frozenset({"packet"}), 19.5, 30.0))
    opened, broken = event(18.5, SECOND, "stream"), event(20, "ECONNRESET", "stream alive")
    elsewhere = broken._replace(place="another pod")
    assert judged(history, opened, broken, elsewhere) == ["", "", "stream"]
    assert judged(history, event(17.5, SECOND, "stream"), broken) == ["", "stream"]
