"""The ordinary way: what README.md tells, done and judged.

In each step the pod `client` asks twice: outside the hook's cgroup, which is the ordinary way, and through the hook.
"""

from collections.abc import Iterator

from labs.engine import claims as c
from labs.engine.capture import Look
from labs.engine.conntrack import Remembered, listing, look_at_connection_tracking
from labs.engine.evidence import Seen
from labs.engine.model import Commands, Lab
from labs.engine.needs import third_node, unhooked
from labs.engine.packet import Endpoint
from labs.engine.places import Command, at
from labs.engine.rules import Passed, follow_the_jumps, hop, read_the_counters
from labs.engine.scenario import WEB, Scenario, at_the_pod
from labs.engine.two_ways import answering, ask_until, connection, connections, copies, ends, same

TUNNEL, UDP = "flannel0", 8285  # flannel's interface, and the port of its UDP backend
lab = Lab(minutes=25, deploy="baseline", needs=[unhooked])

LOOKS = ("curl -s http://127.0.0.1:10349/proxyMode", "ip route", f"ip link show {TUNNEL}", "socklb status")
parts = lab.step("Who does what")
parts.act(lambda on: [at(on.client_node, *look.split()) for look in LOOKS])


@parts.check
def each_has_its_part(seen: Seen) -> Iterator[c.Claim]:
    yield c.says("kube-proxy works with iptables", seen.said("curl"), "iptables")
    yield c.says("flannel has the way to the pods of other nodes", seen.said("ip", "route"), f"dev {TUNNEL}")
    yield c.says("its packets leave room for 28 bytes more", seen.said("ip", "link"), "mtu 1472")
    yield c.says("the agent translates for sockets", seen.said("socklb"), "translated by the hooks")
    yield c.says("and leaves packets alone", seen.said("socklb"), "not by socklb")


def own_port(on: Scenario) -> Endpoint:
    """Return the NodePort at the client's own node: what happens to a packet happens there."""
    return on.node_port(node=on.client_node)


def ask_twice(on: Scenario) -> list[Command]:
    return [on.curl(own_port(on), hooked=False), on.curl(own_port(on))]


wire = lab.step("The address on the wire", captures=at_the_pod)
wire.act(ask_twice)


@wire.check
def service_or_pod(seen: Seen) -> Iterator[c.Claim]:
    pod, hooked = seen.capture("pod"), connection(seen, hooked=True)
    yield c.first(c.SYN, pod, to=[own_port(seen.on)], must="the first SYN goes to the address that was asked")
    yield c.handshake(pod, "the whole handshake is with it")
    yield c.within("and yet a pod answers", [seen.on.pod_called(connection(seen).reply)], seen.on.backends())
    pod = seen.on.backends().get(seen.on.pod_called(hooked.reply))
    yield c.equal("through the hook it is the pod's own address", hooked.server, pod)


RULES = f"iptables-save --counters --table nat | grep default/{WEB}:"
rules = lab.step("The rules, chain by chain", before=read_the_counters, captures=at_the_pod, observe=follow_the_jumps)
rules.act(lambda on: [*ask_twice(on), at(on.client_node, "sh", "-c", RULES, lines=30)])


@rules.check
def down_to_the_dnat(seen: Seen) -> Iterator[c.Claim]:
    port, backend = own_port(seen.on).port, answering(seen)
    yield hop(seen, "PREROUTING", "KUBE-SERVICES", "each new connection is shown to kube-proxy's rules")
    yield hop(seen, "KUBE-SERVICES", "KUBE-NODEPORTS", "this one goes to an address of the node")
    yield hop(seen, "KUBE-NODEPORTS", "KUBE-EXT-", "the port says to which Service", f"--dport {port} ")
    yield hop(seen, "KUBE-EXT-", "KUBE-MARK-MASQ", "it is marked: its sender will be changed as well")
    yield hop(seen, "KUBE-EXT-", "KUBE-SVC-", "and goes on to the Service's own chain")
    yield hop(seen, "KUBE-SVC-", "KUBE-SEP-", "which draws a pod by lot", f"-> {backend}")
    yield hop(seen, "KUBE-SEP-", "DNAT", "the pod that answered becomes its target", f"--to-destination {backend}")
    counted = sum(rule.packets for rule in seen[Passed].rules if rule.chain == "KUBE-NODEPORTS")
    asked, hooked = len(connections(seen)), len(connections(seen, hooked=True))
    told = f"{counted} counted; {asked} connections outside the hook, {hooked} through it"
    yield c.true("a connection passes them once, and none does through the hook", counted == asked, told)


def between(on: Scenario) -> list[Look]:
    """Where a packet passes: the pod, flannel's interface, the node's own."""
    node = on.client_node
    tunnel = Look("tunnel", node, TUNNEL, f"tcp port {on.service().port().target}")
    return [on.at_pod(), tunnel, Look("wire", node, on.cluster.nodes[node].interface, f"udp port {UDP}")]


def ask_until_another_node_answers(on: Scenario) -> Commands:
    return ask_until(on, own_port(on), [node for node in on.nodes if node != on.client_node])


tunnel = lab.step("A packet in a packet", captures=between)
tunnel.act(ask_until_another_node_answers)


@tunnel.check
def it_is_carried_by_udp(seen: Seen) -> Iterator[c.Claim]:
    on, asked, hooked = seen.on, connection(seen).packets[0], connection(seen, hooked=True).packets[0]
    inside, carrier = same(seen, "tunnel", asked), same(seen, "wire", asked)
    yield c.equal("the SYN that flannel gets goes to the pod by now", inside.target, answering(seen))
    yield c.true("and no longer comes from the client", inside.source != asked.source, f"from {inside.source}")
    nodes = [str(Endpoint(on.address(node), UDP)) for node in (on.client_node, on.node_of(connection(seen).reply))]
    yield c.equal("a UDP packet takes it from node to node", ends(carrier), " → ".join(nodes))
    yield c.equal("whose payload it is, whole", ends(carrier.inner), ends(inside))
    through = same(seen, "wire", hooked).inner
    yield c.equal("through the hook it is carried as well, but as it was sent", ends(through), ends(hooked))


back = lab.step("The way back", captures=between, observe=look_at_connection_tracking)
back.act(ask_until_another_node_answers)
back.act(lambda on: [listing(on.client_node, on.address(on.client))])


@back.check
def the_reply_is_translated_back(seen: Seen) -> Iterator[c.Claim]:
    asked, hooked = connection(seen), connection(seen, hooked=True)
    first, second = (seen[Remembered].of(one) for one in (asked, hooked))
    answer = asked.packets[1]
    yield c.equal("the pod answers from its own address", same(seen, "tunnel", answer).source, answering(seen))
    yield c.equal("to the client the same packet comes from where it asked", answer.source, own_port(seen.on))
    kept = bool(first) and (first.server, first.answers) == (answer.source, answering(seen))
    yield c.true("for the node remembers both, as long as the connection lasts", kept, str(first))
    yield c.true("and that the sender was changed", bool(first) and first.answered != first.client, str(first))
    came = same(seen, "tunnel", hooked.packets[1])
    yield c.equal("through the hook the answer is left as it came", ends(came), ends(hooked.packets[1]))
    yield c.true("and nothing is there to be changed back", bool(second) and second.plain, str(second))


detour = lab.step("By way of another node", needs=[third_node])
detour.act(lambda on: ask_until(on, on.node_port(), [on.third]))


@detour.captures
def at_the_node_that_is_asked(on: Scenario) -> list[Look]:
    either = f"udp port {UDP} or tcp port {on.node_port().port}"
    return [on.at_pod(), Look("asked", on.asked, on.cluster.nodes[on.asked].interface, either)]


@detour.check
def the_asked_node_is_on_the_way(seen: Seen) -> Iterator[c.Claim]:
    on, asked, hooked = seen.on, connection(seen).packets[0], connection(seen, hooked=True)
    came, *sent = [*copies(seen, "asked", asked)]
    yield c.equal(f"the SYN comes to {on.asked}", came.target, on.node_port())
    third = [str(one.inner.target) for one in sent if one.inner and one.target.address == on.address(on.third)]
    yield c.equal(f"which sends it on to {on.third}, to the pod that answers", third[:1], [str(answering(seen))])
    yield c.equal(f"through the hook a pod of {on.third} answers too", on.node_of(hooked.reply), on.third)
    seen_there = [str(one) for one in copies(seen, "asked", hooked.packets[0])]
    yield c.absent(f"and {on.asked} sees nothing of it", seen_there, control=[str(one) for one in (came, *sent)])
