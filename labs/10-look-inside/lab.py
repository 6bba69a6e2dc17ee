"""Look inside: programs, tables and decisions, by bpftool, socklb and bcc: what README.md tells, done and judged."""

import json
from collections.abc import Iterator

from labs.engine import claims as c
from labs.engine.agents import HOOKS
from labs.engine.env import Env
from labs.engine.evidence import Seen
from labs.engine.model import Commands, Lab
from labs.engine.needs import Need, inventories, program
from labs.engine.places import at
from labs.engine.scenario import EMPTY, Scenario
from labs.engine.tables import BPFTOOL, FRONTENDS, Frontends, read_frontends

from . import watching as w


def _bcc(env: Env) -> str:
    return env.ask(w.tracer(env.on, "--check")).out


bpftool = program(lambda env: env.on.client_node, BPFTOOL, "apt-get install bpftool")
bcc = [inventories("local", because="the node image has no bcc"), Need(_bcc, excuses_ci=False)]
lab = Lab(minutes=20)

attached = lab.step("Programs at the node's cgroup", needs=[bpftool])
attached.act(lambda on: [at(on.client_node, BPFTOOL, "cgroup", "tree", lines=20)])


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


watched = lab.step("Each decision as it is made", needs=[bpftool], before=w.watch, observe=w.read_what_was_told)
watched.act(lambda on: [w.many(on, w.WATCHED)])


@watched.check
def every_decision_is_told(seen: Seen) -> Iterator[c.Claim]:
    rows = [json.loads(line) for line in seen[w.Watched].lines if line.startswith("{")]
    yield c.equal("a decision for each connect()", len(rows), w.WATCHED)
    yield c.within("the Service was asked", [row["asked"] for row in rows], [str(seen.on.cluster_ip())])
    yield c.within("a backend was given", [row["backend"] for row in rows], _ends(seen.on))
    before, meanwhile, after = [*seen[w.Watched].programs, "", ""][:3]
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


traced = lab.step("Traced from outside, by bcc", needs=bcc, before=w.trace, observe=w.read_what_was_traced)
traced.act(lambda on: [w.many(on, w.TRACED)])


@traced.check
def the_tracer_saw_what_the_hooks_told(seen: Seen) -> Iterator[c.Claim]:
    rows = [found for line in seen[w.Traced].lines if (found := w.ROW.fullmatch(line.strip()))]
    yield c.equal("every connect() was traced, and no other", len(rows), w.TRACED)
    yield c.within("applications asked for the Service", [row["asked"] for row in rows], [str(seen.on.cluster_ip())])
    backends = sorted(row["backend"] for row in rows)
    yield c.within("SYNs went to its pods", backends, _ends(seen.on))
    decided = sorted(json.loads(line)["backend"] for line in seen[w.Traced].monitor if line.startswith("{"))
    yield c.true("as often to each as the hooks say", backends == decided, f"{len(decided)} decisions")
    cost = [line for line in seen[w.Traced].lines if "cost" in line]
    yield c.true("the tracer says what it costs", bool(cost), (cost or ["it does not"])[-1])


@lab.reset
def end_what_runs(env: Env) -> None:
    for name in ("monitor", "tracer"):
        env.stop(name, env.on.client_node)


def _ends(on: Scenario) -> list[str]:
    return [str(end) for end in on.backends().values()]
