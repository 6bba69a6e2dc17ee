"""Watchers of lab 10 that run in the client's node while the client asks: `socklb monitor`, and the tracer with bcc."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from labs.engine.env import Env
from labs.engine.places import Command, at
from labs.engine.scenario import Scenario
from labs.engine.tables import program_at

TRACER = Path(__file__).with_name("connects.py")
PYTHON = "/usr/bin/python3"  # Debian's, which has Debian's bcc
WATCHED, TRACED = 5, 23
MOMENT = 2.0  # seconds
ROW = re.compile(r"(?P<cgroup>/\S*) +(?P<command>\S+) +(?P<asked>\S+) +(?P<backend>\S+) +(?P<took>[\d.]+)")


@dataclass(frozen=True)
class Watched:
    lines: list[str]  # a JSON document each
    programs: list[str]  # at connect4: before, while somebody watches, afterwards


@dataclass(frozen=True)
class Traced:
    lines: list[str]
    monitor: list[str]


def watch(env: Env) -> None:
    """Have a monitor see the next connects, and wait until the hooks tell it."""
    programs = [_program(env)]
    env.start("monitor", _monitor(env.on, WATCHED))
    env.until("the hooks tell", lambda: _program(env) not in programs)
    env.record(Watched([], [*programs, _program(env)]))


def read_what_was_told(env: Env) -> None:
    before = env.seen[Watched].programs[:2]
    env.record(Watched(_log(env, "monitor", WATCHED), [*before, _program(env)]))


def trace(env: Env) -> None:
    """The same with the tracer, and a monitor beside it."""
    env.start("tracer", tracer(env.on, str(env.on.cluster_ip()), str(TRACED)))
    env.start("monitor", _monitor(env.on, TRACED))
    env.until("bcc has compiled its programs", lambda: _log(env, "tracer"))


def read_what_was_traced(env: Env) -> None:
    env.record(Traced(_log(env, "tracer", TRACED + 2), _log(env, "monitor", TRACED)))


def tracer(on: Scenario, *words: str) -> Command:
    return at(on.client_node, PYTHON, str(TRACER), *words)


def many(on: Scenario, times: int) -> Command:
    one = f"curl -s --max-time 2 http://{on.cluster_ip()}/"
    return at(on.client, "sh", "-c", f"for i in $(seq {times}); do {one}; done", seconds=30)


def _monitor(on: Scenario, count: int) -> Command:
    words = ("--service", "web", "--hook", "connect", "--count", str(count), "--json")
    return at(on.client_node, "socklb", "monitor", *words)


def _log(env: Env, name: str, wanted: int = 0) -> list[str]:
    """Read what a process has said, which may be behind: until it has said so much, or nothing more for a moment."""
    before, end = 0, time.monotonic() + MOMENT
    while True:
        said = env.ask(at(env.on.client_node, "cat", f"/tmp/lab-{name}.log")).out.splitlines()
        if len(said) > before:
            before, end = len(said), time.monotonic() + MOMENT
        if len(said) >= wanted or time.monotonic() > end:
            return said
        time.sleep(0.1)


def _program(env: Env) -> str:
    return program_at(env, env.on.client_node, "connect4")
