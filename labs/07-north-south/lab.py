"""North-south: what README.md tells, done and judged.

The client outside the cluster asks the Services of objects.yaml: `front` at a NodePort, and `direct` also at an address
of its own, for which the reader plays the load balancer.
"""

import json
from collections.abc import Iterator, Sequence

from labs.engine import claims as c
from labs.engine.capture import Look
from labs.engine.conversation import Conversation
from labs.engine.env import Env
from labs.engine.evidence import Seen
from labs.engine.model import Commands, Lab
from labs.engine.needs import client_outside, third_node, unhooked
from labs.engine.packet import Endpoint
from labs.engine.places import Command, at
from labs.engine.scenario import CURL, MANY, Scenario
from labs.engine.stage import serve

FRONT, DIRECT = "front", "direct"
lab = Lab(minutes=15, needs=[client_outside, third_node])


def at_outside(on: Scenario, fold: int = 12) -> Look:
    return Look(
        "outside", outside(on), on.cluster.others[outside(on)].interface, "tcp or icmp[icmptype] = icmp-unreach", fold
    )


def at_each_pod(on: Scenario) -> list[Look]:
    return [on.at_pod(pod, pod, "tcp port 8080", fold=2) for pod in on.backends(FRONT)]


def everywhere(on: Scenario) -> list[Look]:
    return [at_outside(on, 4), *at_each_pod(on)]


def serve_all(env: Env) -> None:
    serve(lab, env)


def serve_elsewhere(env: Env) -> None:
    """The pods of the node that is asked leave the lab's Services."""
    serve(lab, env, without=env.on.backends_at(env.on.asked, DIRECT))


node_port = lab.step("A NodePort, asked from outside", before=serve_all, captures=lambda on: [at_outside(on)])


@node_port.act
def ask_a_node(on: Scenario) -> Commands:
    yield on.curl(on.node_port(FRONT), place=outside(on))
    words = f"socklb flow list --client {outside_address(on)} | grep -e CLIENT -e {on.node_port(FRONT)}"
    yield at(on.asked, "sh", "-c", words)


@node_port.check
def translated_at_the_node(seen: Seen) -> Iterator[c.Claim]:
    on, wire, asked = seen.on, seen.capture("outside"), seen.on.node_port(FRONT)
    yield c.handshake(wire, f"outside there is a connection with {on.asked}")
    yield c.within("and with its NodePort alone", [str(one.server) for one in wire.conversations], [str(asked)])
    yield c.within("a pod answers", [on.pod_called(one.reply) for one in wire.conversations], on.backends(FRONT))
    lines = seen.said("sh").out.splitlines()
    flow = next((line for line in lines for one in wire.conversations if f" {one.client} " in line), "")
    backends = [pod for pod, end in on.backends(FRONT).items() if f" {end} " in flow]
    yield c.within(f"{on.asked} keeps a flow for it, which names the pod", backends, on.backends(FRONT))


cluster = lab.step("Whom the pods see: externalTrafficPolicy: Cluster", before=serve_all, captures=everywhere)


@cluster.act
def ask_a_node_many_times(on: Scenario) -> Commands:
    yield many(on, on.node_port(FRONT))


@cluster.check
def masqueraded_for_other_nodes(seen: Seen) -> Iterator[c.Claim]:
    on = seen.on
    here = on.backends_at(on.asked, FRONT)
    yield c.equal("every pod answers", sorted(answering(seen, on.node_port(FRONT))), sorted(on.backends(FRONT)))
    yield c.within(f"pods of {on.asked} see the client itself", clients(seen, here), [outside_address(on)])
    there = [pod for pod in on.backends(FRONT) if pod not in here]
    yield c.within(f"pods of other nodes see {on.asked}", clients(seen, there), [on.address(on.asked)])


local = lab.step("externalTrafficPolicy: Local", builds_on=[cluster], before=serve_all, captures=everywhere)


@local.act
def ask_the_local_service(on: Scenario) -> Commands:
    yield many(on, on.node_port(DIRECT))


@local.check
def source_is_kept(seen: Seen) -> Iterator[c.Claim]:
    on = seen.on
    here = on.backends_at(on.asked, DIRECT)
    there = [pod for pod in on.backends(DIRECT) if pod not in here]
    yield c.within(f"pods of {on.asked} answer", answering(seen, on.node_port(DIRECT)), here)
    yield c.within("all of them see the client itself", clients(seen, here), [outside_address(on)])
    yield c.absent(
        "nobody asks a pod of another node", clients(seen, there), control=clients(seen.of(cluster.key), there)
    )


dropped = lab.step("A node without endpoints", before=serve_elsewhere, captures=everywhere)


@dropped.act
def ask_two_nodes(on: Scenario) -> Commands:
    for node in on.asked, on.third:
        yield on.curl(on.node_port(DIRECT, node=node), "-S", place=outside(on))


@dropped.check
def dropped_there_and_served_elsewhere(seen: Seen) -> Iterator[c.Claim]:
    on, asked = seen.on, seen.on.node_port(DIRECT)
    yield c.within(
        f"{on.third} serves", answering(seen, on.node_port(DIRECT, node=on.third)), on.backends_at(on.third, DIRECT)
    )
    packets = seen.capture("outside").packets
    sent = [f"{one.note} to {one.target}" for one in packets if one.target == asked]
    back = [f"{one.note} from {one.source}" for one in packets if one.source == asked or one.protocol == "icmp"]
    yield c.absent(f"{on.asked} says nothing, not even no", back, control=sent)
    there = [pod for pod in on.backends(DIRECT) if pod not in on.backends_at(on.third, DIRECT)]
    yield c.absent(
        "nor does it ask a pod elsewhere", clients(seen, there), control=clients(seen, on.backends_at(on.third, DIRECT))
    )


health = lab.step("The health-check port", before=serve_elsewhere, captures=lambda on: [at_outside(on, 0)])


@health.act
def ask_as_a_load_balancer(on: Scenario) -> Commands:
    for node in on.nodes:
        yield on.curl(on.health_port(DIRECT, node), "-i", place=outside(on))


@health.check
def each_node_says_whether_it_serves(seen: Seen) -> Iterator[c.Claim]:
    on = seen.on
    for node in on.nodes:
        served = 0 if node == on.asked else len(on.backends_at(node, DIRECT))
        asked = [one for one in seen.capture("outside").conversations if one.server == on.health_port(DIRECT, node)]
        must = f"{node} says {'200' if served else '503'}: {served} of its endpoints serve"
        yield c.within(must, [status(one) for one in asked], [f"{200 if served else 503}, {served} endpoints"])


balancer = lab.step("An address of its own: the load balancer is a route", before=serve_all, captures=everywhere)


@balancer.act
def route_and_ask(on: Scenario) -> Commands:
    to = on.load_balancer(DIRECT)
    yield at(outside(on), "ip", "route", "replace", to.address, "via", on.address(on.third), "proto", "static")
    yield on.curl(to, place=outside(on))


@balancer.check
def address_is_served_by_the_node(seen: Seen) -> Iterator[c.Claim]:
    on, to = seen.on, seen.on.load_balancer(DIRECT)
    here = on.backends_at(on.third, DIRECT)
    yield c.sees(seen.capture("outside"), to)
    yield c.within(f"a pod of {on.third} answers", answering(seen, to), here)
    yield c.within("it sees the client itself", clients(seen, here), [outside_address(on)])


inside = lab.step("The same address, asked by a pod", needs=[unhooked], captures=lambda on: [on.at_pod()])


@inside.before
def ask_from_outside_the_hook(env: Env) -> None:
    serve(lab, env)
    with env.capture(env.on.at_pod("unhooked")):
        env.run(env.on.curl(env.on.load_balancer(DIRECT), hooked=False))


@inside.act
def ask_through_the_hook(on: Scenario) -> Commands:
    yield on.curl(on.load_balancer(DIRECT))


@inside.check
def straight_to_a_pod(seen: Seen) -> Iterator[c.Claim]:
    pod = seen.capture("pod")
    yield c.first(c.SYN, pod, to=seen.on.backends(DIRECT).values(), must="the first SYN goes to a pod")
    yield c.answered(pod, seen.on, "that pod answers")
    yield c.never(pod, seen.on.load_balancer(DIRECT), control=seen.capture("unhooked"))


@lab.reset
def forget_the_route(env: Env) -> None:
    if env.on.outside:
        env.ask(at(env.on.outside, "ip", "route", "flush", "proto", "static"))


def outside(on: Scenario) -> str:
    """Return the client outside, which this lab needs."""
    return on.outside or ""


def outside_address(on: Scenario) -> str:
    return on.address(outside(on))


def many(on: Scenario, to: Endpoint) -> Command:
    loop = f"for i in $(seq {MANY}); do {' '.join(CURL)} http://{to}/; done | sort | uniq -c"
    return at(outside(on), "sh", "-c", loop, seconds=30)


def answering(seen: Seen, asked: Endpoint) -> set[str]:
    """Return the pods that answered the client outside, which asked there."""
    found = [one for one in seen.capture("outside").conversations if one.server == asked]
    return {seen.on.pod_called(one.reply) for one in found if one.reply}


def clients(seen: Seen, pods: Sequence[str]) -> list[str]:
    """Return who asked these pods, as they see it. A kubelet's probe asks nothing."""
    found = [one for pod in pods for one in seen.capture(pod).conversations]
    return [one.client.address for one in found if not one.silent]


def status(answer: Conversation) -> str:
    """Return what a health check was told: the status, and how many endpoints."""
    said = b"".join(packet.payload for packet in answer.packets if packet.source == answer.server)
    words = said.decode(errors="replace").split()
    return f"{words[1]}, {json.loads(answer.reply)['localEndpoints']} endpoints" if len(words) > 1 else "no answer"
