"""Masquerade, and pods' traffic outside conntrack: what README.md tells, done and judged.

A server in the pod of another node and one outside the cluster tell each client by which address they know him. The
Service `kiosk` is served to clients outside by pods of the node that they ask, with the clients' own address.
"""

from collections.abc import Iterator

from labs.engine import agents
from labs.engine import claims as c
from labs.engine.capture import Look
from labs.engine.evidence import Seen
from labs.engine.model import Commands, Lab
from labs.engine.needs import client_outside, inventories
from labs.engine.packet import Endpoint
from labs.engine.packet_path import listing
from labs.engine.places import at
from labs.engine.scenario import CURL, MANY, Scenario

from . import guarding as g

lab = Lab(
    minutes=15, needs=[client_outside, inventories("local", because="it starts agents with another configuration")]
)
lab.reset(g.whole_again)


def on_the_way(on: Scenario) -> list[Look]:
    return [
        on.at_pod(),
        on.at_uplink("uplink", on.client_node, [on.address(g.outside(on)), on.address(g.neighbour(on))]),
    ]


to_pod = lab.step("From pod to pod: the pod's own address", before=g.servers, captures=on_the_way)
to_pod.act(lambda on: [g.asks(on, g.neighbour(on))])


@to_pod.check
def nobody_is_masqueraded(seen: Seen) -> Iterator[c.Claim]:
    own = seen.on.address(seen.on.client)
    yield c.equal("the other pod knows the client by its own address", seen.said("curl").out.strip(), own)
    yield c.sees(seen.capture("uplink"), Endpoint(own), "and so do the packets between the nodes")


to_world = lab.step(
    "From a pod to the world: the node's address", builds_on=[to_pod], before=g.servers, captures=on_the_way
)
to_world.act(lambda on: [g.asks(on, g.outside(on)), listing(on, on.client_node)])


@to_world.check
def the_node_stands_for_its_pod(seen: Seen) -> Iterator[c.Claim]:
    on, own, uplink = seen.on, Endpoint(seen.on.address(seen.on.client)), seen.capture("uplink")
    node = on.address(on.client_node)
    yield c.equal("the server outside knows the client by its node's address", seen.said("curl").out.strip(), node)
    yield c.sees(seen.capture("pod"), own, "the pod itself sends with its own address")
    yield c.sees(uplink, Endpoint(node), "at the uplink the node's stands in its place")
    yield c.never(uplink, own, control=seen.of(to_pod.key).capture("uplink"))
    yield c.says("the packet path keeps a flow to know the way back", seen.said("socklb"), on.address(g.outside(on)))


untracked = lab.step("Nobody tracks it", before=g.track_for_once)
untracked.act(lambda on: [g.many(on), g.conntrack(on.client_node)])


@untracked.check
def no_entry(seen: Seen) -> Iterator[c.Claim]:
    on, answered = seen.on, seen.said("sh").out.split()
    yield c.equal("as many connections are made as in the control", answered[:1], [str(MANY)])
    control, found = seen[g.Tracked].entries, g.entries(on, seen.said("conntrack"))
    yield c.absent(f"{on.client_node} tracks none of them", found, control=control)


stateful = lab.step("A stateful firewall works", before=g.servers)


@stateful.act
def set_up_a_firewall(on: Scenario) -> Commands:
    yield g.firewall(on)
    yield g.kiosk(on)
    yield at(g.neighbour(on), *CURL, f"http://{g.server(on, g.outside(on))}/")
    yield g.conntrack(on.asked)


@stateful.check
def it_sees_both_ways(seen: Seen) -> Iterator[c.Claim]:
    on = seen.on
    yield c.equal(
        "what the client outside begins is dropped: exit status", seen.said("curl", place=g.outside(on)).exit, 28
    )
    said = seen.said("curl", place=g.neighbour(on)).out.strip()
    yield c.equal("what a pod begins is answered", said, on.address(on.asked))
    tracked = next(
        (line for line in g.entries(on, seen.said("conntrack")) if on.address(g.neighbour(on)) in line), "nothing"
    )
    yield c.true("the node tracks it by the pod's own address, both ways", "ASSURED" in tracked, tracked)


past = lab.step("Host routing: past conntrack, and past the firewall", builds_on=[stateful], before=g.past_the_firewall)


@past.act
def ask_past_it(on: Scenario) -> Commands:
    yield g.kiosk(on)
    yield g.conntrack(on.asked)
    yield at(on.asked, "nft", "list", "table", "inet", g.TABLE)
    yield at(on.asked, "sh", "-c", 'until socklb status | grep "table inet guard"; do sleep 0.5; done', seconds=30)


@past.check
def nothing_is_seen(seen: Seen) -> Iterator[c.Claim]:
    on = seen.on
    yield c.within(
        "the firewall drops nothing: a pod answers", [on.pod_called(seen.said("curl").out)], on.backends(g.KIOSK)
    )
    control = g.entries(on, seen.of(stateful.key).said("conntrack"))
    yield c.absent(
        "nothing is tracked, though a rule asks for it", g.entries(on, seen.said("conntrack")), control=control
    )
    yield c.says("not one packet has come by the rule", seen.said("nft"), "packets 0")
    yield c.says("the status names what is passed by", seen.said("sh"), g.TABLE)


back = lab.step("Without host routing the firewall counts again", before=g.past_the_firewall)


@back.act
def take_it_back(on: Scenario) -> Commands:
    yield from agents.restarted(on, on.asked)
    yield g.kiosk(on)
    yield at(on.asked, "nft", "list", "table", "inet", g.TABLE)


@back.check
def dropped_again(seen: Seen) -> Iterator[c.Claim]:
    yield c.equal("what the client outside begins is dropped: exit status", seen.said("curl").exit, 28)
    counted = next((line.strip() for line in seen.said("nft").out.splitlines() if "drop" in line), "no rule")
    yield c.true("the rule has counted its packets", "packets 0 " not in counted and "packets" in counted, counted)
