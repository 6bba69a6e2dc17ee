"""Look inside: programs, tables and decisions, by bpftool, socklb and bcc: what README.md tells, done and judged."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labs.engine import claims as c
from labs.engine.agents import HOOKS
from labs.engine.env import Env
from labs.engine.evidence import Seen
from labs.engine.model import Commands, Lab
from labs.engine.needs import Need, inventories, program
from labs.engine.places import Command, at
from labs.engine.scenario import EMPTY, Scenario
from labs.engine.tables import BPFTOOL, FRONTENDS, Frontends, program_at, read_frontends

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


def _bcc(env: Env) -> str:
    return env.ask(_tracer(env.on, "--check")).out


bpftool = program(lambda env: env.on.client_node, BPFTOOL, "apt-get install bpftool")
bcc = [inventories("local", because="the node image has no bcc"), Need(_bcc, excuses_ci=False)]
lab = Lab(minutes=20)

attached = lab.step("Programs at the node's cgroup", needs=[bpftool])


@attached.act
def list_the_hooks(on: Scenario) -> Commands:
    yield at(on.client_node, BPFTOOL, "cgroup", "tree", lines=20)


@attached.check
def each_hook_is_a_program_of_the_cgroup(seen: Seen) -> Iterator[c.Claim]:
    lines = [line.split() for line in seen.said(BPFTOOL, "cgroup").out.splitlines()]
    there = {words[-1]: words[1] for words in lines if len(words) > 2}
    missing = [hook for hook in HOOKS if hook not in there]
    yield c.true("every hook is a program of the node's cgroup", not missing, ", ".join(missing or there))
    yield c.equal("connect4 runs at connect() of IPv4", there.get("connect4"), "cgroup_inet4_connect")


tables = lab.step("Tables instead of rules", needs=[bpftool])


@tables.act
def look_at_the_table(on: Scenario) -> Commands:
    yield at(on.client_node, BPFTOOL, "map", "dump", "pinned", FRONTENDS, lines=30)
    yield at(on.client_node, "socklb", "service", "list", "--namespace", "default", lines=20)


@tables.observe
def read_the_table(env: Env) -> None:
    env.record(read_frontends(env, env.on.client_node))


@tables.check
def the_service_is_a_key_and_pods_are_none(seen: Seen) -> Iterator[c.Claim]:
    keys, asked = seen[Frontends].keys, str(seen.on.cluster_ip())
    port = f"0.0.0.0:{seen.on.node_port().port}"
    yield c.within("the ClusterIP is a key of the table", [key for key in keys if key == asked], [asked])
    yield c.within("the NodePort is one key, for all addresses", [key for key in keys if key == port], [port])
    pods = [str(end) for end in seen.on.backends().values()]
    yield c.absent("no backend's address is a key", [key for key in keys if key in pods], control=keys)
    yield c.says("`service list` reads the same table", seen.said("socklb", "service"), asked)


watched = lab.step("Each decision as it is made", needs=[bpftool])


@watched.before
def watch(env: Env) -> None:
    programs = [_program(env)]
    env.start("monitor", _monitor(env.on, WATCHED))
    env.until("the hooks tell", lambda: _program(env) not in programs)
    env.record(Watched([], [*programs, _program(env)]))


@watched.act
def ask_five_times(on: Scenario) -> Commands:
    yield _many(on, WATCHED)


@watched.observe
def read_what_was_told(env: Env) -> None:
    before = env.seen[Watched].programs[:2]
    env.record(Watched(_log(env, "monitor", WATCHED), [*before, _program(env)]))


@watched.check
def every_decision_is_told(seen: Seen) -> Iterator[c.Claim]:
    rows = [json.loads(line) for line in seen[Watched].lines if line.startswith("{")]
    yield c.equal("a decision for each connect()", len(rows), WATCHED)
    yield c.within("the Service was asked", [row["asked"] for row in rows], [str(seen.on.cluster_ip())])
    yield c.within("a backend was given", [row["backend"] for row in rows], _ends(seen.on))
    before, meanwhile, after = [*seen[Watched].programs, "", ""][:3]
    yield c.true("other programs ran meanwhile", meanwhile not in ("", before), f"{before}, then {meanwhile}")
    yield c.equal("the programs that tell nothing are back", after, before)


told = lab.step("What would become of a connection")


@told.act
def have_it_explained(on: Scenario) -> Commands:
    yield at(on.client_node, "socklb", "explain", str(on.cluster_ip()), lines=30)
    yield at(on.client_node, "socklb", "explain", str(on.cluster_ip(EMPTY)), lines=30)
    yield on.curl(on.cluster_ip(EMPTY))


@told.check
def it_comes_as_it_was_explained(seen: Seen) -> Iterator[c.Claim]:
    said = "\n".join(one.out for one in seen.outputs if "explain" in one.words).splitlines()
    served, refused = ([line for line in said if text in line] for text in ("leads it to", "has no ready endpoint"))
    yield c.true("one of the Service's pods would serve", bool(served), "; ".join(served))
    yield c.true("the other Service would refuse, and why", bool(refused), "; ".join(refused))
    yield c.equal("curl is refused (exit status 7)", seen.said("curl").exit, 7)


traced = lab.step("Traced from outside, by bcc", needs=bcc)


@traced.before
def trace(env: Env) -> None:
    env.start("tracer", _tracer(env.on, str(env.on.cluster_ip()), str(TRACED)))
    env.start("monitor", _monitor(env.on, TRACED))
    env.until("bcc has compiled its programs", lambda: _log(env, "tracer"))


@traced.act
def ask_a_prime_number_of_times(on: Scenario) -> Commands:
    yield _many(on, TRACED)


@traced.observe
def read_what_was_traced(env: Env) -> None:
    env.record(Traced(_log(env, "tracer", TRACED + 2), _log(env, "monitor", TRACED)))


@traced.check
def the_tracer_saw_what_the_hooks_told(seen: Seen) -> Iterator[c.Claim]:
    rows = [found for line in seen[Traced].lines if (found := ROW.fullmatch(line.strip()))]
    yield c.equal("every connect() was traced, and no other", len(rows), TRACED)
    yield c.within("applications asked for the Service", [row["asked"] for row in rows], [str(seen.on.cluster_ip())])
    backends = sorted(row["backend"] for row in rows)
    yield c.within("SYNs went to its pods", backends, _ends(seen.on))
    decided = sorted(json.loads(line)["backend"] for line in seen[Traced].monitor if line.startswith("{"))
    yield c.true("as often to each as the hooks say", backends == decided, f"{len(decided)} decisions")
    cost = [line for line in seen[Traced].lines if "cost" in line]
    yield c.true("the tracer says what it costs", bool(cost), (cost or ["it does not"])[-1])


@lab.reset
def end_what_runs(env: Env) -> None:
    for name in ("monitor", "tracer"):
        env.stop(name, env.on.client_node)


def _tracer(on: Scenario, *words: str) -> Command:
    return at(on.client_node, PYTHON, str(TRACER), *words)


def _monitor(on: Scenario, count: int) -> Command:
    words = ("--service", "web", "--hook", "connect", "--count", str(count), "--json")
    return at(on.client_node, "socklb", "monitor", *words)


def _many(on: Scenario, times: int) -> Command:
    one = f"curl -s --max-time 2 http://{on.cluster_ip()}/"
    return at(on.client, "sh", "-c", f"for i in $(seq {times}); do {one}; done", seconds=30)


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


def _ends(on: Scenario) -> list[str]:
    return [str(end) for end in on.backends().values()]
