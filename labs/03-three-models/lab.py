"""Three models compared: what README.md tells, done and judged."""

import json
from collections.abc import Iterator
from pathlib import Path

from labs.engine import claims as c
from labs.engine.conntrack import Remembered, look_at_connection_tracking
from labs.engine.conversation import Conversation
from labs.engine.env import Env
from labs.engine.errors import NothingRecordedError
from labs.engine.evidence import Seen
from labs.engine.model import Commands, Lab
from labs.engine.needs import unhooked
from labs.engine.packet import Endpoint
from labs.engine.places import Command, at
from labs.engine.rules import Passed, follow_the_jumps, read_the_counters
from labs.engine.scenario import WEB, Scenario, at_the_pod

HERE = Path(__file__).parent
CYCLES = 600
API = 6443
lab = Lab(minutes=15, deploy="baseline", needs=[unhooked])


def look(env: Env) -> None:
    follow_the_jumps(env)
    look_at_connection_tracking(env)


server = lab.step("Server-side: the node", before=read_the_counters, captures=at_the_pod, observe=look)


@server.act
def ask_outside_the_hook(on: Scenario) -> Commands:
    yield ask(on, hooked=False)


@server.check
def the_node_translates(seen: Seen) -> Iterator[c.Claim]:
    one = request(seen)
    yield c.equal("wire: the connection is with the Service", one.server, seen.on.cluster_ip())
    passed = of_the_service(seen)
    yield c.true("rules: it passes the Service's", bool(passed), " → ".join(passed) or "none counted it")
    entry = seen[Remembered].of(one)
    yield c.true("each packet: the node translates both ways", bool(entry) and not entry.plain, str(entry))
    yield c.says("application: it knows the Service alone", seen.said("curl"), seen.on.cluster_ip().address)


client = lab.step("Client-side: the application", [server], before=read_the_counters, captures=at_the_pod, observe=look)


@client.act
def ask_the_api_and_then_a_pod(on: Scenario) -> Commands:
    yield at(on.client, "python3", "-", str(api(on)), WEB, hooked=False, stdin=HERE / "choose.py")


@client.check
def the_application_chooses(seen: Seen) -> Iterator[c.Claim]:
    chosen = json.loads(seen.said("python3").out or "{}")
    yield from nobody_translates(seen)
    yield c.equal("application: it knows every pod", chosen.get("known"), len(seen.on.backends()))
    yield c.sees(seen.capture("pod"), api(seen.on), "and for that it must ask the API, with an account of its own")


hook = lab.step("Socket: the kernel, once", [server], before=read_the_counters, captures=at_the_pod, observe=look)


@hook.act
def ask_through_the_hook(on: Scenario) -> Commands:
    yield ask(on)


@hook.check
def the_hook_translates(seen: Seen) -> Iterator[c.Claim]:
    yield from nobody_translates(seen)
    yield c.says("application: it knows the Service alone", seen.said("curl"), seen.on.cluster_ip().address)


costs = lab.step("What each costs")


@costs.act
def measure(on: Scenario) -> Commands:
    for hooked in False, True:
        words = [str(CYCLES), *(str(end) for end in (on.cluster_ip(), *on.backends().values()))]
        yield at(on.client, "python3", "-", *words, hooked=hooked, stdin=HERE / "compare.py", seconds=30)


@costs.check
def figures_of_both(seen: Seen) -> Iterator[c.Claim]:
    for hooked, who in (False, "server-side"), (True, "socket"):
        said = [json.loads(one.out or "{}") for one in seen.outputs if one.hooked == hooked and "-" in one.words]
        if not said:
            raise NothingRecordedError(f"nobody measured the {who} way")
        found = said[-1]
        connects, requests = found.get("connect", {}), found.get("request", {})
        told = "; ".join(f"{pod}: {connects[pod]}, {requests[pod]}" for pod in connects)
        complete = (found.get("answered"), len(connects)) == (CYCLES, len(seen.on.backends()))
        must = f"{who}: connect() and request, times those to the pod itself, of {CYCLES} answered by every pod"
        yield c.true(must, complete, told or "no figures")


def api(on: Scenario) -> Endpoint:
    """Return where the API server listens: on the control plane, which is the first of the nodes."""
    return Endpoint(on.address(on.nodes[0]), API)


def ask(on: Scenario, *, hooked: bool = True) -> Command:
    """Ask the Service, and say whom the application believes to have asked."""
    return on.curl(on.cluster_ip(), "-w", r"%{remote_ip}\n", hooked=hooked)


def request(seen: Seen) -> Conversation:
    """The last request to the Service or one of its pods."""
    ends = [seen.on.cluster_ip(), *seen.on.backends().values()]
    found = [one for one in seen.capture("pod").conversations if one.server in ends and one.reply]
    if not found:
        raise NothingRecordedError("no request to the Service was answered")
    return found[-1]


def of_the_service(seen: Seen) -> list[str]:
    passed = seen[Passed].rules
    return [f"{rule.chain} {rule.text}" for rule in passed if rule.chain.startswith(("KUBE-SVC-", "KUBE-SEP-"))]


def nobody_translates(seen: Seen) -> Iterator[c.Claim]:
    """What client-side and the socket have in common."""
    one, on = request(seen), seen.on
    yield c.equal("wire: the connection is with the pod that answers", on.pod_at(one.server), on.pod_called(one.reply))
    control = of_the_service(seen.of(server.key))
    yield c.absent("rules: it passes none of the Service's", of_the_service(seen), control=control)
    entry = seen[Remembered].of(one)
    yield c.true("each packet: it stays as it was sent", bool(entry) and entry.plain, str(entry))
