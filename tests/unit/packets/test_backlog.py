"""Differences that wait for the packet path become one, in which the last word counts."""

from socklb.packets.backlog import Backlog
from socklb.serving import Addresses, Backend, Difference, Frontend, Serving, pack_address

WEB, DNS = (Frontend(pack_address("10.96.0.10"), port, 6) for port in (80, 53))
ONE, OTHER = (Serving((Backend(pack_address(f"10.244.1.{n}"), 8080),)) for n in (1, 2))
A, B = (Addresses(services=frozenset({pack_address(f"10.96.0.{n}")})) for n in (10, 11))


class Recorder:
    """What a backlog brings."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def sync(self, *words: object) -> None:
        self.calls.append(("sync", *words))

    def apply(self, *words: object) -> None:
        self.calls.append(("apply", *words))

    def refuse_in(self, *words: object) -> None:
        self.calls.append(("refuse_in", *words))


def brought(backlog: Backlog) -> list[tuple[object, ...]]:
    recorder = Recorder()
    backlog.bring(recorder)  # type: ignore[arg-type]
    return recorder.calls


def test_an_empty_one_brings_nothing() -> None:
    assert not Backlog()
    assert brought(Backlog()) == []


def test_the_last_word_about_a_frontend_and_an_address_counts() -> None:
    backlog = Backlog()
    backlog.apply(Difference(put={WEB: ONE}, delete=frozenset({DNS}), add=A, remove=B))
    backlog.apply(Difference(put={DNS: ONE}, delete=frozenset({WEB}), add=B, remove=A))
    assert brought(backlog) == [("apply", Difference({DNS: ONE}, frozenset({WEB}), B, A))]


def test_what_was_said_before_everything_counts_no_more() -> None:
    backlog = Backlog()
    backlog.apply(Difference(put={WEB: ONE}))
    backlog.refuse_in(["10.96.0.0/16"])
    backlog.sync({DNS: ONE}, A)
    backlog.apply(Difference(put={WEB: OTHER}))
    assert brought(backlog) == [
        ("refuse_in", ("10.96.0.0/16",)),
        ("sync", {DNS: ONE}, A),
        ("apply", Difference({WEB: OTHER})),
    ]
