"""Socket load balancing, packet by packet: what README.md tells, done and judged.

The pod `client` asks the Service `web`, by ClusterIP and by the NodePort of a node that is not the client's.
"""

from collections.abc import Iterator

from labs.engine import claims as c
from labs.engine.agents import Agents, look_at_agents
from labs.engine.answers import answers
from labs.engine.capture import Look
from labs.engine.cluster import V6
from labs.engine.evidence import Seen
from labs.engine.model import Lab
from labs.engine.needs import third_node, unhooked
from labs.engine.packet import Endpoint
from labs.engine.packet_path import EarlierFlows, Flows, listing, look_for_earlier_flows, look_for_flows
from labs.engine.scenario import DNS, MANY, Scenario, at_the_pod, unseen_at_the_pod
from labs.engine.two_ways import unhooked_first

from . import asking

lab = Lab(minutes=15)
deployed = lab.step("What is deployed", observe=look_at_agents)
deployed.act(asking.status)


@deployed.check
def hooks_are_in_effect(seen: Seen) -> Iterator[c.Claim]:
    yield c.says("the agent is said to run", seen.said("socklb", "status"), "Agent:")
    yield from seen[Agents].serve()


outside = lab.step("The control: outside the hook", needs=[unhooked], observe=look_for_flows)
outside.act(lambda on: [on.curl(on.node_port(), hooked=False), listing(on, on.asked)])


@outside.captures
def at_the_client_and_the_node_that_is_asked(on: Scenario) -> list[Look]:
    return [on.at_pod(), on.at_uplink("asked", on.asked, fold=0)]


@outside.check
def service_address_is_on_the_wire(seen: Seen) -> Iterator[c.Claim]:
    asked, service, pod = seen.on.asked, seen.on.node_port(), seen.capture("pod")
    yield c.control(pod, service)
    yield c.control(seen.capture("asked"), service, f"it reaches {asked}, the node that was asked")
    yield c.within("a pod answers", answers(seen), seen.on.backends())
    asking_ = tuple(f"TCP {one.client} to {service}, " for one in pod.conversations)
    flow = next((flow for flow in seen[Flows].at[asked] if flow.startswith(asking_)), "")
    yield c.true(f"{asked} translates every packet, and keeps a flow for it", bool(flow), flow or "no flow says so")


wire = lab.step("The handshake is with the backend pod", builds_on=[outside], captures=at_the_pod)
wire.act(lambda on: [on.curl(on.node_port())])


@wire.check
def backend_from_the_syn_on(seen: Seen) -> Iterator[c.Claim]:
    pod = seen.capture("pod")
    yield c.first(c.SYN, pod, to=seen.on.backends().values(), must="the first SYN goes to a pod of the Service")
    yield c.answered(pod, seen.on, "it is the pod that answers")
    yield c.handshake(pod, "the whole handshake is with it")
    yield c.never(pod, seen.on.node_port(), control=seen.of(outside.key).capture("pod"))


kinds = lab.step("ClusterIP and IPv6 alike", needs=[unhooked], before=unhooked_first(asking.each_other_way))
kinds.captures(lambda on: [on.at_pod(fold=30)])
kinds.act(asking.each_other_way)


@kinds.check
def every_way_is_translated(seen: Seen) -> Iterator[c.Claim]:
    pod, ends = seen.capture("pod"), [*seen.on.backends().values(), *seen.on.backends(family=V6).values()]
    servers, ways = [str(one.server) for one in pod.conversations], asking.other_ways(seen.on)
    yield c.within("each connection is with a pod, on its own port", servers, [str(end) for end in ends])
    yield c.answered(pod, seen.on, "that pod answers", at_least=len(ways))
    for service in ways:
        yield c.never(pod, service, control=seen.capture("outside"))


transparent = lab.step(
    "The application still sees the Service", needs=[unhooked], before=unhooked_first(asking.by_name)
)
transparent.captures(unseen_at_the_pod)
transparent.act(asking.as_an_application)


@transparent.check
def applications_see_the_service(seen: Seen) -> Iterator[c.Claim]:
    server, pod = seen.on.cluster_ip(DNS), seen.capture("pod")
    for service in asking.of_tcp(seen.on):
        said = seen.said("python3", "-", "tcp", service.address)
        yield c.says(f"getpeername() of a connection to {service}", said, f'"peer": "{service}"')
    yield c.says("dig takes the answer as the Service's", seen.said("dig"), f"SERVER: {server.address}#53")
    said = seen.said("python3", "-", "udp")
    yield c.says("an unconnected UDP socket has its reply from the Service", said, f'"peer": "{server}"')
    asked = [seen.on.pod_at(packet.target) for packet in pod.packets if packet.target.port == server.port]
    yield c.within("on the wire the questions go to its pods", asked, seen.on.backends(DNS))
    yield c.never(pod, server, control=seen.capture("outside"))


between = lab.step("The nodes on the way translate nothing", builds_on=[outside], needs=[third_node])
between.before(look_for_earlier_flows)
between.captures(lambda on: [on.at_uplink("third", on.third), on.at_uplink("asked", on.asked)])
between.act(asking.until_the_third_node_answers)
between.observe(look_for_flows)


@between.check
def nothing_is_translated_on_the_way(seen: Seen) -> Iterator[c.Claim]:
    on, third, asked, before = seen.on, seen.capture("third"), seen.capture("asked"), seen.of(outside.key)
    served = [on.backends()[pod] for pod in on.backends_at(on.third)]
    yield c.first(c.SYN, third, to=served, must=f"at {on.third} the SYN comes in with its pod's address already")
    ends = [on.pod_at(end) for packet in third.packets for end in (packet.source, packet.target)]
    pods = [on.client, *(on.pod_at(end) for end in served)]
    yield c.within("nothing but these two pods' addresses is on that wire", ends, pods)
    yield c.sees(asked, Endpoint(on.address(on.client)), f"{on.asked}, which was asked, sees the client's ping")
    clients = {one.client for one in third.conversations}
    there = [one for one in asked.conversations if one.client in clients or one.server == on.node_port()]
    passing = [f"{one.client} → {one.server}" for one in there]
    control = [f"{one.client} → {one.server}" for one in before.capture("asked").conversations]
    yield c.absent(f"{on.asked} sees nothing of the connection", passing, control=control)
    new = seen[Flows].new_since(seen[EarlierFlows])
    yield c.absent("no node has a flow that translates it", new, control=before[Flows].at[on.asked])


spread = lab.step("Every backend serves", captures=unseen_at_the_pod)
spread.act(lambda on: [on.curl_many(on.node_port())])


@spread.check
def all_pods_answered(seen: Seen) -> Iterator[c.Claim]:
    replies = answers(seen)
    yield c.true(f"each of {MANY} connections is answered", len(replies) >= MANY, f"{len(replies)} are")
    yield c.equal("by every pod of the Service, and by no other", sorted({*replies}), sorted(seen.on.backends()))
