"""Session affinity and traffic policies: what README.md tells, done and judged.

Pods ask the Services of objects.yaml, all of which have the same pods behind them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from labs.engine import claims as c
from labs.engine.capture import Capture, Look
from labs.engine.env import Env
from labs.engine.evidence import Seen
from labs.engine.model import Commands, Lab
from labs.engine.needs import third_node
from labs.engine.packet import Endpoint
from labs.engine.places import Command, at
from labs.engine.scenario import CURL, MANY, Scenario
from labs.engine.stage import serve

STICKY, BRIEF, NEAR, OUTER = "sticky", "brief", "near", "outer"
lab = Lab(minutes=15)


def at_the_pod(on: Scenario) -> list[Look]:
    return [on.at_pod(fold=0)]


def at_both_pods(on: Scenario) -> list[Look]:
    return [*at_the_pod(on), on.at_pod("other", other_client(on), fold=0)]


def serve_all(env: Env) -> None:
    serve(lab, env)


@dataclass(frozen=True)
class Answers:
    """Who answered the client, one after the other."""

    pods: list[str]


spread = lab.step("Without affinity: any pod", captures=at_the_pod)


@spread.act
def ask_the_ordinary_service(on: Scenario) -> Commands:
    yield many(on, on.cluster_ip())


@spread.check
def every_pod_answers(seen: Seen) -> Iterator[c.Claim]:
    yield c.equal("every pod answers", sorted({*answers(seen, seen.capture("pod"))}), sorted(seen.on.backends()))


sticky = lab.step("With affinity: one pod", builds_on=[spread], before=serve_all, captures=at_the_pod)


@sticky.act
def ask_the_sticky_service(on: Scenario) -> Commands:
    yield many(on, on.cluster_ip(STICKY))


@sticky.check
def one_pod_answers(seen: Seen) -> Iterator[c.Claim]:
    said, control = answers(seen, seen.capture("pod")), answers(seen, seen.of(spread.key).capture("pod"))
    yield c.true(f"each of {MANY} connections is answered", len(said) >= MANY, f"{len(said)} are")
    others = [pod for pod in said if pod != said[0]]
    yield c.absent("all by one pod", others, control=[pod for pod in control if pod != control[0]])


moved = lab.step("Its pod goes, and comes back", captures=at_the_pod)


@moved.before
def its_pod_goes_and_comes_back(env: Env) -> None:
    serve(lab, env)
    first = ask_once(env)
    serve(lab, env, without=[first])
    second = ask_once(env)
    serve(lab, env)
    env.record(Answers([first, second]))


@moved.act
def ask_again(on: Scenario) -> Commands:
    yield many(on, on.cluster_ip(STICKY))


@moved.check
def the_later_pod_is_kept(seen: Seen) -> Iterator[c.Claim]:
    first, second = seen[Answers].pods
    others = [pod for pod in seen.on.backends(STICKY) if pod != first]
    yield c.within(f"without {first}, another pod answered", [second], others)
    yield c.within(f"{first} is back, and that one is kept", answers(seen, seen.capture("pod")), [second])


silent = lab.step("After the timeout: drawn anew", before=serve_all, captures=at_the_pod)


@silent.act
def ask_and_be_silent(on: Scenario) -> Commands:
    ports = [port.port for port in on.service(BRIEF).ports]
    url = f"http://{on.cluster_ip(BRIEF).address}:$port/"
    round_ = f"for port in $(seq {ports[0]} {ports[-1]}); do {' '.join(CURL)} {url}; done | xargs"
    yield at(on.client, "sh", "-c", f"for pause in 0 0 4; do sleep $pause; {round_}; done", seconds=30)


@silent.check
def remembered_for_three_seconds(seen: Seen) -> Iterator[c.Claim]:
    size = len(seen.on.service(BRIEF).ports)
    said = answers(seen, seen.capture("pod"))[-3 * size :]
    first, at_once, later = said[:size], said[size : 2 * size], said[2 * size :]
    yield c.equal("each port is answered three times", len(said), 3 * size)
    yield c.equal("asked again at once, each is answered by its pod", at_once, first)
    yield c.true("after four seconds others answer", first != later, " ".join(later) or "nobody")


near = lab.step(
    "internalTrafficPolicy: Local", builds_on=[spread], needs=[third_node], before=serve_all, captures=at_both_pods
)


@near.act
def ask_from_two_nodes(on: Scenario) -> Commands:
    for client in on.client, other_client(on):
        yield many(on, on.cluster_ip(NEAR), client)


@near.check
def each_is_answered_on_its_node(seen: Seen) -> Iterator[c.Claim]:
    control = answers(seen, seen.of(spread.key).capture("pod"))
    for name, client in ("pod", seen.on.client), ("other", other_client(seen.on)):
        node = seen.on.cluster.pods[client].node
        here = seen.on.backends_at(node, NEAR)
        yield c.within(f"{client} is answered by pods of {node}", answers(seen, seen.capture(name)), here)
    elsewhere = [pod for pod in control if seen.on.node_of(pod) != seen.on.client_node]
    gone = [pod for pod in answers(seen, seen.capture("pod")) if seen.on.node_of(pod) != seen.on.client_node]
    yield c.absent("never by one of another node", gone, control=elsewhere)


nobody = lab.step("Nobody serves on this node", builds_on=[near], needs=[third_node], captures=at_both_pods)


@nobody.before
def pods_of_the_clients_node_leave(env: Env) -> None:
    serve(lab, env, without=env.on.backends_at(env.on.client_node, NEAR))


@nobody.act
def ask_from_two_nodes_again(on: Scenario) -> Commands:
    for client in on.client, other_client(on):
        yield on.curl(on.cluster_ip(NEAR), "-S", place=client)


@nobody.check
def refused_at_once(seen: Seen) -> Iterator[c.Claim]:
    node = seen.on.client_node
    ended = seen.said("curl", place=seen.on.client).exit
    yield c.equal("the client is refused: 7 from curl, and not 28, its timeout", ended, 7)
    sent = [f"SYN to {one.server}" for one in seen.capture("pod").conversations]
    before = [f"SYN to {one.server}" for one in seen.of(near.key).capture("pod").conversations]
    yield c.absent("before a packet leaves its pod", sent, control=before)
    there = [pod for pod in seen.on.backends(NEAR) if seen.on.node_of(pod) != node]
    yield c.within("others serve, on their own nodes", answers(seen, seen.capture("other")), there)


outer = lab.step(
    "externalTrafficPolicy: Local, asked by a pod", needs=[third_node], before=serve_all, captures=at_the_pod
)


@outer.act
def ask_two_nodes(on: Scenario) -> Commands:
    for node in on.client_node, on.asked:
        yield many(on, on.node_port(OUTER, node=node))


@outer.check
def only_the_other_node_keeps_to_its_own(seen: Seen) -> Iterator[c.Claim]:
    on, pod, asked = seen.on, seen.capture("pod"), seen.on.node_port(OUTER)
    there = [on.pod_called(one.reply) for one in pod.conversations if one.server == asked]
    here = [(on.pod_at(one.server), on.pod_called(one.reply)) for one in pod.conversations if one.server != asked]
    yield c.equal(
        f"at {on.client_node}, its own node, every pod", sorted({who for _, who in here}), sorted(on.backends())
    )
    yield c.true(
        "by the hooks: each connection is with its pod",
        all(with_ == who for with_, who in here),
        f"{len(here)} connections",
    )
    yield c.within(f"at {on.asked} the pods of {on.asked} alone", there, on.backends_at(on.asked, OUTER))


def other_client(on: Scenario) -> str:
    """Return a client on another node."""
    pods = on.cluster.pods.values()
    return next(pod.name for pod in pods if pod.kind == "client" and pod.node != on.client_node)


def many(on: Scenario, to: Endpoint, client: str = "") -> Command:
    loop = f"for i in $(seq {MANY}); do {' '.join(CURL)} http://{to}/; done | sort | uniq -c"
    return at(client or on.client, "sh", "-c", loop, seconds=30)


def ask_once(env: Env) -> str:
    return env.on.pod_called(env.run(env.on.curl(env.on.cluster_ip(STICKY))).out)


def answers(seen: Seen, capture: Capture) -> list[str]:
    """Return the pods that answered, in the order in which they were asked."""
    return [seen.on.pod_called(one.reply) for one in capture.conversations if one.reply]
