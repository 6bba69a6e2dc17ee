"""Socket load balancing, packet by packet: what README.md tells, done and judged.

The pod `client` asks the Service `web`, by ClusterIP and by the NodePort of a node that is not the client's.
"""

from collections.abc import Iterator
from pathlib import Path

from labs.engine import claims as c
from labs.engine.agents import Agents, look_at_agents
from labs.engine.cluster import V6
from labs.engine.env import Env
from labs.engine.evidence import Seen
from labs.engine.model import Commands, Lab
from labs.engine.needs import third_node, unhooked
from labs.engine.packet import Endpoint
from labs.engine.packet_path import EarlierFlows, Flows, listing, look_for_earlier_flows, look_for_flows
from labs.engine.places import Command, at
from labs.engine.scenario import CURL, DNS, MANY, Scenario, at_the_pod

PEER = Path(__file__).with_name("peer.py")
lab = Lab(minutes=15)

deployed = lab.step("What is deployed", observe=look_at_agents)


@deployed.act
def look_at_a_node(on: Scenario) -> Commands:
    yield at(on.client_node, "socklb", "status", "--verbose", lines=60)


@deployed.check
def hooks_are_in_effect(seen: Seen) -> Iterator[c.Claim]:
    yield c.says("the agent is said to run", seen.said("socklb", "status"), "Agent:")
    yield from seen[Agents].serve()


outside = lab.step(
    "The control: outside the hook",
    needs=[unhooked],
    captures=lambda on: [on.at_pod(), on.at_uplink("asked", on.asked, fold=0)],
    observe=look_for_flows,
)


@outside.act
def ask_from_outside_the_hook(on: Scenario) -> Commands:
    yield on.curl(on.node_port(), hooked=False)
    yield listing(on, on.asked)


@outside.check
def service_address_is_on_the_wire(seen: Seen) -> Iterator[c.Claim]:
    asked, service, pod = seen.on.asked, seen.on.node_port(), seen.capture("pod")
    yield c.control(pod, service)
    yield c.control(seen.capture("asked"), service, f"it reaches {asked}, the node that was asked")
    yield c.within("a pod answers", [seen.on.pod_called(one.reply) for one in pod.conversations], seen.on.backends())
    asking = tuple(f"TCP {one.client} to {service}, " for one in pod.conversations)
    flow = next((flow for flow in seen[Flows].at[asked] if flow.startswith(asking)), "")
    yield c.true(f"{asked} translates every packet, and keeps a flow for it", bool(flow), flow or "no flow says so")


wire = lab.step("The handshake is with the backend pod", builds_on=[outside], captures=at_the_pod)


@wire.act
def ask_through_the_hook(on: Scenario) -> Commands:
    yield on.curl(on.node_port())


@wire.check
def backend_from_the_syn_on(seen: Seen) -> Iterator[c.Claim]:
    pod = seen.capture("pod")
    yield c.first(c.SYN, pod, to=seen.on.backends().values(), must="the first SYN goes to a pod of the Service")
    yield c.answered(pod, seen.on, "it is the pod that answers")
    yield c.handshake(pod, "the whole handshake is with it")
    yield c.never(pod, seen.on.node_port(), control=seen.of(outside.key).capture("pod"))


kinds = lab.step("ClusterIP and IPv6 alike", needs=[unhooked], captures=lambda on: [on.at_pod(fold=30)])


@kinds.before
def ask_each_from_outside_the_hook(env: Env) -> None:
    with env.capture(env.on.at_pod("outside")):
        for service in other_ways(env.on):
            env.run(env.on.curl(service, hooked=False))


@kinds.act
def ask_each_through_the_hook(on: Scenario) -> Commands:
    for service in other_ways(on):
        yield on.curl(service)


@kinds.check
def every_way_is_translated(seen: Seen) -> Iterator[c.Claim]:
    pod, ends = seen.capture("pod"), [*seen.on.backends().values(), *seen.on.backends(family=V6).values()]
    servers = [str(one.server) for one in pod.conversations]
    yield c.within("each connection is with a pod, on its own port", servers, [str(end) for end in ends])
    yield c.answered(pod, seen.on, "that pod answers", at_least=len(other_ways(seen.on)))
    for service in other_ways(seen.on):
        yield c.never(pod, service, control=seen.capture("outside"))


transparent = lab.step(
    "The application still sees the Service", needs=[unhooked], captures=lambda on: [on.at_pod(fold=0)]
)


@transparent.before
def ask_for_a_name_from_outside_the_hook(env: Env) -> None:
    with env.capture(env.on.at_pod("outside")):
        env.run(dig(env.on, hooked=False))


@transparent.act
def ask_as_an_application(on: Scenario) -> Commands:
    for service in on.cluster_ip(), on.cluster_ip(family=V6), on.node_port():
        yield peer(on, "tcp", service)
    yield dig(on)
    yield peer(on, "udp", on.cluster_ip(DNS))


@transparent.check
def applications_see_the_service(seen: Seen) -> Iterator[c.Claim]:
    server, pod = seen.on.cluster_ip(DNS), seen.capture("pod")
    for service in seen.on.cluster_ip(), seen.on.cluster_ip(family=V6), seen.on.node_port():
        said = seen.said("python3", "-", "tcp", service.address)
        yield c.says(f"getpeername() of a connection to {service}", said, f'"peer": "{service}"')
    yield c.says("dig takes the answer as the Service's", seen.said("dig"), f"SERVER: {server.address}#53")
    said = seen.said("python3", "-", "udp")
    yield c.says("an unconnected UDP socket has its reply from the Service", said, f'"peer": "{server}"')
    asked = [seen.on.pod_at(packet.target) for packet in pod.packets if packet.target.port == server.port]
    yield c.within("on the wire the questions go to its pods", asked, seen.on.backends(DNS))
    yield c.never(pod, server, control=seen.capture("outside"))


between = lab.step(
    "The nodes on the way translate nothing",
    builds_on=[outside],
    needs=[third_node],
    before=look_for_earlier_flows,
    captures=lambda on: [on.at_uplink("third", on.third), on.at_uplink("asked", on.asked)],
    observe=look_for_flows,
)


@between.act
def ask_until_the_third_node_answers(on: Scenario) -> Commands:
    yield at(on.client, "ping", "-c", "1", "-W", "1", on.address(on.asked))
    for _ in range(MANY):
        said = yield on.curl(on.node_port())
        if on.node_of(said.out) == on.third:
            break
    yield listing(on, on.asked)


@between.check
def nothing_is_translated_on_the_way(seen: Seen) -> Iterator[c.Claim]:
    on, third, asked, before = seen.on, seen.capture("third"), seen.capture("asked"), seen.of(outside.key)
    served = [end for pod, end in on.backends().items() if on.cluster.pods[pod].node == on.third]
    yield c.first(c.SYN, third, to=served, must=f"at {on.third} the SYN comes in with its pod's address already")
    ends = [on.pod_at(end) for packet in third.packets for end in (packet.source, packet.target)]
    pods = [on.client, *(on.pod_at(end) for end in served)]
    yield c.within("nothing but these two pods' addresses is on that wire", ends, pods)
    yield c.sees(asked, Endpoint(on.address(on.client)), f"{on.asked}, which was asked, sees the client's ping")
    clients = {one.client for one in third.conversations}
    passing = [f"{one.client} → {one.server}" for one in asked.conversations if one.client in clients]
    control = [f"{one.client} → {one.server}" for one in before.capture("asked").conversations]
    yield c.absent(f"{on.asked} sees nothing of the connection", passing, control=control)
    new = seen[Flows].new_since(seen[EarlierFlows])
    yield c.absent("no node has a flow that translates it", new, control=before[Flows].at[on.asked])


spread = lab.step("Every backend serves", captures=lambda on: [on.at_pod(fold=0)])


@spread.act
def ask_many_times(on: Scenario) -> Commands:
    loop = f"for i in $(seq {MANY}); do {' '.join(CURL)} http://{on.node_port()}/; done | sort | uniq -c"
    yield at(on.client, "sh", "-c", loop)


@spread.check
def all_pods_answered(seen: Seen) -> Iterator[c.Claim]:
    replies = [seen.on.pod_called(one.reply) for one in seen.capture("pod").conversations if one.reply]
    yield c.true(f"each of {MANY} connections is answered", len(replies) >= MANY, f"{len(replies)} are")
    yield c.equal("by every pod of the Service, and by no other", sorted({*replies}), sorted(seen.on.backends()))


def other_ways(on: Scenario) -> list[Endpoint]:
    """Every address of the Service but the one of the first steps."""
    return [on.cluster_ip(), on.node_port(family=V6), on.cluster_ip(family=V6)]


def dig(on: Scenario, *, hooked: bool = True) -> Command:
    asked = (f"@{on.cluster_ip(DNS).address}", "whoami.example.test", "TXT")
    return at(on.client, "dig", "+noall", "+answer", "+stats", "+tries=1", "+timeout=1", *asked, hooked=hooked)


def peer(on: Scenario, protocol: str, service: Endpoint) -> Command:
    return at(on.client, "python3", "-", protocol, service.address, str(service.port), stdin=PEER)
