"""North-south: what README.md tells, done and judged.

The client outside the cluster asks the Services of objects.yaml: `front` at a NodePort, and `direct` also at an address
of its own, for which the reader plays the load balancer.
"""

from collections.abc import Iterator
from functools import partial

from labs.engine import claims as c
from labs.engine.answers import answers
from labs.engine.env import Env
from labs.engine.evidence import Seen
from labs.engine.model import Commands, Lab
from labs.engine.needs import client_outside, third_node, unhooked
from labs.engine.places import at
from labs.engine.scenario import Scenario, at_the_pod
from labs.engine.stage import serve
from labs.engine.two_ways import unhooked_first

from . import outside
from .outside import DIRECT, FRONT, clients, everywhere

lab = Lab(minutes=15, needs=[client_outside, third_node])
serve_all = partial(serve, lab)


def serve_elsewhere(env: Env) -> None:
    """The pods of the node that is asked leave the lab's Services."""
    serve(lab, env, without=env.on.backends_at(env.on.asked, DIRECT))


node_port = lab.step("A NodePort, asked from outside", before=serve_all, captures=lambda on: [outside.look(on)])
node_port.act(lambda on: [outside.curl(on, on.node_port(FRONT)), outside.flows(on)])


@node_port.check
def translated_at_the_node(seen: Seen) -> Iterator[c.Claim]:
    on, wire, asked = seen.on, seen.capture("outside"), seen.on.node_port(FRONT)
    yield c.handshake(wire, f"outside there is a connection with {on.asked}")
    yield c.within("and with its NodePort alone", [str(one.server) for one in wire.conversations], [str(asked)])
    yield c.within("a pod answers", answers(seen, "outside"), on.backends(FRONT))
    lines = seen.said("sh").out.splitlines()
    flow = next((line for line in lines for one in wire.conversations if f" {one.client} " in line), "")
    backends = [pod for pod, end in on.backends(FRONT).items() if f" {end} " in flow]
    yield c.within(f"{on.asked} keeps a flow for it, which names the pod", backends, on.backends(FRONT))


cluster = lab.step("Whom the pods see: externalTrafficPolicy: Cluster", before=serve_all, captures=everywhere)
cluster.act(lambda on: [on.curl_many(on.node_port(FRONT), outside.place(on))])


@cluster.check
def masqueraded_for_other_nodes(seen: Seen) -> Iterator[c.Claim]:
    on = seen.on
    here = on.backends_at(on.asked, FRONT)
    answering = {*answers(seen, "outside", on.node_port(FRONT))}
    yield c.equal("every pod answers", sorted(answering), sorted(on.backends(FRONT)))
    yield c.within(f"pods of {on.asked} see the client itself", clients(seen, here), [outside.address(on)])
    there = [pod for pod in on.backends(FRONT) if pod not in here]
    yield c.within(f"pods of other nodes see {on.asked}", clients(seen, there), [on.address(on.asked)])


local = lab.step("externalTrafficPolicy: Local", builds_on=[cluster], before=serve_all, captures=everywhere)
local.act(lambda on: [on.curl_many(on.node_port(DIRECT), outside.place(on))])


@local.check
def source_is_kept(seen: Seen) -> Iterator[c.Claim]:
    on = seen.on
    here = on.backends_at(on.asked, DIRECT)
    there = [pod for pod in on.backends(DIRECT) if pod not in here]
    yield c.within(f"pods of {on.asked} answer", answers(seen, "outside", on.node_port(DIRECT)), here)
    yield c.within("all of them see the client itself", clients(seen, here), [outside.address(on)])
    control = clients(seen.of(cluster.key), there)
    yield c.absent("nobody asks a pod of another node", clients(seen, there), control=control)


dropped = lab.step("A node without endpoints", before=serve_elsewhere, captures=everywhere)
dropped.act(lambda on: [outside.curl(on, on.node_port(DIRECT, node=one), "-S") for one in (on.asked, on.third)])


@dropped.check
def dropped_there_and_served_elsewhere(seen: Seen) -> Iterator[c.Claim]:
    on, asked, packets = seen.on, seen.on.node_port(DIRECT), seen.capture("outside").packets
    here = on.backends_at(on.third, DIRECT)
    there = [pod for pod in on.backends(DIRECT) if pod not in here]
    yield c.within(f"{on.third} serves", answers(seen, "outside", on.node_port(DIRECT, node=on.third)), here)
    sent = [f"{one.note} to {one.target}" for one in packets if one.target == asked]
    back = [f"{one.note} from {one.source}" for one in packets if one.source == asked or one.protocol == "icmp"]
    yield c.absent(f"{on.asked} says nothing, not even no", back, control=sent)
    yield c.absent("nor does it ask a pod elsewhere", clients(seen, there), control=clients(seen, here))


health = lab.step("The health-check port", before=serve_elsewhere, captures=lambda on: [outside.look(on, 0)])
health.act(lambda on: [outside.curl(on, on.health_port(DIRECT, node), "-i") for node in on.nodes])


@health.check
def each_node_says_whether_it_serves(seen: Seen) -> Iterator[c.Claim]:
    on = seen.on
    for node in on.nodes:
        served = 0 if node == on.asked else len(on.backends_at(node, DIRECT))
        must = f"{node} says {'200' if served else '503'}: {served} of its endpoints serve"
        said = outside.health(seen, on.health_port(DIRECT, node))
        yield c.within(must, said, [f"{200 if served else 503}, {served} endpoints"])


balancer = lab.step("An address of its own: the load balancer is a route", before=serve_all)
balancer.captures(everywhere)


@balancer.act
def route_and_ask(on: Scenario) -> Commands:
    to = on.load_balancer(DIRECT)
    yield outside.route(on, to.address, on.third)
    yield outside.curl(on, to)


@balancer.check
def address_is_served_by_the_node(seen: Seen) -> Iterator[c.Claim]:
    on, to = seen.on, seen.on.load_balancer(DIRECT)
    here = on.backends_at(on.third, DIRECT)
    yield c.sees(seen.capture("outside"), to)
    yield c.within(f"a pod of {on.third} answers", answers(seen, "outside", to), here)
    yield c.within("it sees the client itself", clients(seen, here), [outside.address(on)])


inside = lab.step("The same address, asked by a pod", needs=[unhooked], captures=at_the_pod)
inside.before(serve_all)
inside.before(unhooked_first(lambda on: [on.curl(on.load_balancer(DIRECT))]))
inside.act(lambda on: [on.curl(on.load_balancer(DIRECT))])


@inside.check
def straight_to_a_pod(seen: Seen) -> Iterator[c.Claim]:
    pod = seen.capture("pod")
    yield c.first(c.SYN, pod, to=seen.on.backends(DIRECT).values(), must="the first SYN goes to a pod")
    yield c.answered(pod, seen.on, "that pod answers")
    yield c.never(pod, seen.on.load_balancer(DIRECT), control=seen.capture("outside"))


@lab.reset
def forget_the_route(env: Env) -> None:
    if env.on.outside:
        env.ask(at(env.on.outside, "ip", "route", "flush", "proto", "static"))
