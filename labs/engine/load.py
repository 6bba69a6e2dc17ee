"""A load that continues while the reader breaks things: each place makes one new connection after another to a Service.

    start(env, {on.client: on.cluster_ip()}, pods) in before(): each of these pods has answered when it returns
    look_at_load(env)                              in observe(): records Load
    yield seen[Load].none_failed(control=...)      beside the failures of another step
    stop(env)                                      in reset()

The result of each connection is a line of LOG, at the place itself.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from labs.engine.claims import Claim, absent
from labs.engine.env import Env
from labs.engine.packet import Endpoint
from labs.engine.places import at
from labs.engine.scenario import MANY

ASKER = Path(__file__).with_name("asker.py").read_text()
LOG = "/tmp/lab-load.log"  # where env.start() writes it
FAILED = "FAILED"


@dataclass(frozen=True)
class Load:
    """The results of connections since the step began, and the last lines of LOG, by place."""

    counts: dict[str, dict[str, int]]  # by place: how often each pod answered
    last: dict[str, list[str]]  # the last MANY
    failed: list[str]

    def none_failed(self, *, control: "Load") -> Claim:
        each = ", ".join(f"{place} {sum(counts.values())}" for place, counts in self.counts.items())
        return absent(f"no connection failed: {each}", self.failed, control=control.failed)

    @property
    def answering(self) -> list[str]:
        """Return who is in the last lines: pods, or what failed."""
        return [who(line) for lines in self.last.values() for line in lines]


@dataclass(frozen=True)
class LoadAt:
    """The places where the load runs."""

    places: list[str]


def start(env: Env, asked: Mapping[str, Endpoint], pods: Iterable[str]) -> None:
    for place, service in asked.items():
        env.start("load", at(place, "python3", "-c", ASKER, service.address, str(service.port)))
    wanted = {*pods}
    env.until("each pod has answered", lambda: all(wanted <= {*map(who, said)} for said in _read(env, asked).values()))
    env.record(LoadAt([*asked]))


def stop(env: Env) -> None:
    """Stop it wherever it may run."""
    for place in (env.on.client, env.on.outside):
        if place:
            env.stop("load", place)


def look_at_load(env: Env) -> None:
    """Wait for MANY more connections: the last of them are made after the act."""
    places = env.seen[LoadAt].places
    before = _read(env, places)

    def later() -> dict[str, list[str]] | None:
        now = _read(env, places)
        return now if all(len(now[place]) > len(before[place]) + MANY for place in places) else None

    env.record(load_of(env.until("more was asked", later)))


def load_of(lines: Mapping[str, list[str]]) -> Load:
    good = {place: Counter(who(line) for line in said if FAILED not in line) for place, said in lines.items()}
    failed = [f"{place}: {line}" for place, said in lines.items() for line in said if FAILED in line]
    last = {place: said[-MANY:] for place, said in lines.items()}
    return Load({place: dict(counts) for place, counts in good.items()}, last, failed)


def who(line: str) -> str:
    """Return who answered; for a failed connection, why."""
    return line.partition(" ")[2]


def _read(env: Env, places: Iterable[str]) -> dict[str, list[str]]:
    """Return the lines of each place, with the names that pods have here."""
    return {place: [_named(env, line) for line in env.ask(at(place, "cat", LOG)).out.splitlines()] for place in places}


def _named(env: Env, line: str) -> str:
    when, gap, said = line.partition(" ")
    return f"{when}{gap}{env.on.pod_called(said)}"
