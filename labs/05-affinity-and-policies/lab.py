"""Session affinity and traffic policies: what README.md tells, done and judged.

Pods ask the Services of objects.yaml, all of which have the same pods behind them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from labs.engine import claims as c
from labs.engine.answers import answers
from labs.engine.capture import Look
from labs.engine.env import Env
from labs.engine.evidence import Seen
from labs.engine.model import Commands, Lab
from labs.engine.needs import third_node
from labs.engine.places import at
from labs.engine.scenario import CURL, MANY, Scenario, unseen_at_the_pod
from labs.engine.stage import serve

STICKY, BRIEF, NEAR, OUTER = "sticky", "brief", "near", "outer"
lab = Lab(minutes=15)
serve_all = partial(serve, lab)


def at_both_pods(on: Scenario) -> list[Look]:
    return [on.at_pod(name, client, fold=0) for name, client in zip(("pod", "other"), clients(on), strict=True)]


def clients(on: Scenario) -> list[str]:
    """Return the client, and one of another node."""
    return [on.client, on.client_at(*(node for node in on.nodes if node != on.client_node))]


@dataclass(frozen=True)
class Answers:
    pods: list[str]  # who answered the client, one after the other


spread = lab.step("Without affinity: any pod", captures=unseen_at_the_pod)
spread.act(lambda on: [on.curl_many(on.cluster_ip())])


@spread.check
def every_pod_answers(seen: Seen) -> Iterator[c.Claim]:
    yield c.equal("every pod answers", sorted({*answers(seen)}), sorted(seen.on.backends()))


sticky = lab.step("With affinity: one pod", builds_on=[spread], before=serve_all, captures=unseen_at_the_pod)
sticky.act(lambda on: [on.curl_many(on.cluster_ip(STICKY))])


@sticky.check
def one_pod_answers(seen: Seen) -> Iterator[c.Claim]:
    said, control = answers(seen), answers(seen.of(spread.key))
    yield c.true(f"each of {MANY} connections is answered", len(said) >= MANY, f"{len(said)} are")
    others = [pod for pod in said if pod != said[0]]
    yield c.absent("all by one pod", others, control=[pod for pod in control if pod != control[0]])


moved = lab.step("Its pod goes, and comes back", captures=unseen_at_the_pod)
moved.act(lambda on: [on.curl_many(on.cluster_ip(STICKY))])


@moved.before
def its_pod_goes_and_comes_back(env: Env) -> None:
    answering: list[str] = []
    for _ in range(2):
        serve(lab, env, without=answering)
        answering.append(env.on.pod_called(env.run(env.on.curl(env.on.cluster_ip(STICKY))).out))
    serve(lab, env)
    env.record(Answers(answering))


@moved.check
def the_later_pod_is_kept(seen: Seen) -> Iterator[c.Claim]:
    first, second = seen[Answers].pods
    others = {*seen.on.backends(STICKY)} - {first}
    yield c.within(f"without {first}, another pod answered", [second], others)
    yield c.within(f"{first} is back, and that one is kept", answers(seen), [second])


silent = lab.step("After the timeout: drawn anew", before=serve_all, captures=unseen_at_the_pod)


@silent.act
def ask_and_be_silent(on: Scenario) -> Commands:
    ports = [port.port for port in on.service(BRIEF).ports]
    asks = f"{' '.join(CURL)} http://{on.cluster_ip(BRIEF).address}:$port/"
    round_ = f"for port in $(seq {ports[0]} {ports[-1]}); do {asks}; done | xargs"
    yield at(on.client, "sh", "-c", f"for pause in 0 0 4; do sleep $pause; {round_}; done", seconds=30)


@silent.check
def remembered_for_three_seconds(seen: Seen) -> Iterator[c.Claim]:
    size = len(seen.on.service(BRIEF).ports)
    said = answers(seen)[-3 * size :]
    first, at_once, later = said[:size], said[size : 2 * size], said[2 * size :]
    yield c.equal("each port is answered three times", len(said), 3 * size)
    yield c.equal("asked again at once, each is answered by its pod", at_once, first)
    yield c.true("after four seconds others answer", first != later, " ".join(later) or "nobody")


near = lab.step("internalTrafficPolicy: Local", builds_on=[spread], needs=[third_node], before=serve_all)
near.captures(at_both_pods)
near.act(lambda on: [on.curl_many(on.cluster_ip(NEAR), client) for client in clients(on)])


@near.check
def each_is_answered_on_its_node(seen: Seen) -> Iterator[c.Claim]:
    on = seen.on
    for name, client in zip(("pod", "other"), clients(on), strict=True):
        node = on.cluster.pods[client].node
        yield c.within(f"{client} is answered by pods of {node}", answers(seen, name), on.backends_at(node, NEAR))
    elsewhere = [pod for pod in answers(seen.of(spread.key)) if on.node_of(pod) != on.client_node]
    gone = [pod for pod in answers(seen) if on.node_of(pod) != on.client_node]
    yield c.absent("never by one of another node", gone, control=elsewhere)


nobody = lab.step("Nobody serves on this node", builds_on=[near], needs=[third_node], captures=at_both_pods)
nobody.before(lambda env: serve(lab, env, without=env.on.backends_at(env.on.client_node, NEAR)))
nobody.act(lambda on: [on.curl(on.cluster_ip(NEAR), "-S", place=client) for client in clients(on)])


@nobody.check
def refused_at_once(seen: Seen) -> Iterator[c.Claim]:
    said = seen.said("curl", place=seen.on.client)
    yield c.equal("the client is refused: 7 from curl, and not 28, its timeout", said.exit, 7)
    sent = [f"SYN to {one.server}" for one in seen.capture("pod").conversations]
    before = [f"SYN to {one.server}" for one in seen.of(near.key).capture("pod").conversations]
    yield c.absent("before a packet leaves its pod", sent, control=before)
    there = {*seen.on.backends(NEAR)} - {*seen.on.backends_at(seen.on.client_node, NEAR)}
    yield c.within("others serve, on their own nodes", answers(seen, "other"), there)


outer = lab.step("externalTrafficPolicy: Local, asked by a pod", needs=[third_node], before=serve_all)
outer.captures(unseen_at_the_pod)
outer.act(lambda on: [on.curl_many(on.node_port(OUTER, node=node)) for node in (on.client_node, on.asked)])


@outer.check
def only_the_other_node_keeps_to_its_own(seen: Seen) -> Iterator[c.Claim]:
    on, pod, asked = seen.on, seen.capture("pod"), seen.on.node_port(OUTER)
    here = [(on.pod_at(one.server), on.pod_called(one.reply)) for one in pod.conversations if one.server != asked]
    answering, own = sorted({who for _, who in here}), all(with_ == who for with_, who in here)
    yield c.equal(f"at {on.client_node}, its own node, every pod", answering, sorted(on.backends()))
    yield c.true("by the hooks: each connection is with its pod", own, f"{len(here)} connections")
    there = answers(seen, asked=asked)
    yield c.within(f"at {on.asked} the pods of {on.asked} alone", there, on.backends_at(on.asked, OUTER))
