"""Take over a running kube-proxy under load: what README.md tells, done and judged.

The pod `client` asks by ClusterIP and the client outside by NodePort, from the first step to the last: the Service
`web` by one new connection after another, and the Service `stream` by one connection that stays.
"""

from collections.abc import Iterator

from labs.engine import agents
from labs.engine import claims as c
from labs.engine.agents import Agents
from labs.engine.evidence import Seen
from labs.engine.load import FAILED, LOG, Load
from labs.engine.model import Commands, Lab
from labs.engine.needs import client_outside
from labs.engine.places import at
from labs.engine.scenario import WEB, Scenario

from . import kube_proxy
from . import takeover as t
from .takeover import Counted, Streams

RULES = ("sh", "-c", "iptables-save 2>/dev/null | grep KUBE-SVC | wc -l")
GONE = ("sh", "-c", f'while socklb status | grep -q "{t.LEFT}"; do sleep 1; done; socklb status')
TRACKING = ("sh", "-c", "iptables-save --table nat 2>/dev/null | grep MASQUERADE")
lab = Lab(minutes=20, deploy="baseline", needs=[client_outside])
lab.reset(t.all_ends)


ordinary = lab.step("kube-proxy alone", before=t.kube_proxy_alone, observe=t.look)


@ordinary.act
def look_at_what_is_there(on: Scenario) -> Commands:
    yield at(on.client_node, "socklb", "status")
    for place in t.translating(on):
        yield at(place, "tail", "-n", "5", LOG, t.STREAM_LOG)
    yield at(on.client_node, "sh", "-c", f"iptables-save --counters --table nat | grep default/{WEB}:")
    yield from t.entries(on)


@ordinary.check
def kube_proxy_translates(seen: Seen) -> Iterator[c.Claim]:
    yield c.says("no hook is attached", seen.said("socklb", "status"), "0 of 11 attached")
    for place, node in t.translating(seen.on).items():
        yield c.within(f"each pod answers {place}", seen[Load].counts[place], seen.on.backends())
        yield seen[Counted].some(seen.on, place)
        port = seen[Streams].client[place].port
        yield c.says(f"{node} keeps an entry for the stream", seen.said("conntrack", place=node), f"sport={port}")
    yield from t.undisturbed(seen, since=ordinary.key)


beside = lab.step("The agent comes beside it", builds_on=[ordinary], before=t.goes_on, observe=t.look)


@beside.act
def start_agents(on: Scenario) -> Commands:
    for node in on.nodes:
        yield agents.start(on, node)
        yield agents.synced(node)


@beside.check
def new_connections_pass_no_rule(seen: Seen) -> Iterator[c.Claim]:
    yield from seen[Agents].serve()
    yield c.says("packets are still kube-proxy's", seen.said("socklb", "status"), "not by socklb")
    yield seen[Counted].none(seen.on, seen.on.client, control=seen.of(ordinary.key)[Counted])
    yield seen[Counted].some(seen.on, str(seen.on.outside))
    yield from t.undisturbed(seen, since=ordinary.key)


packets = lab.step("Packets too", builds_on=[ordinary, beside], before=t.goes_on, observe=t.look)


@packets.act
def serve_packets(on: Scenario) -> Commands:
    yield from kube_proxy.each_node(on, "sed", "-i", "s/^packet_path = false/packet_path = true/", t.CONFIG)
    for node in on.nodes:
        yield from agents.restarted(on, node)


@packets.check
def nothing_new_is_kube_proxys(seen: Seen) -> Iterator[c.Claim]:
    yield from seen[Agents].serve()
    for place in t.asked(seen.on):
        yield seen[Counted].none(seen.on, place, control=seen.of(ordinary.key)[Counted])
    yield from t.undisturbed(seen, since=ordinary.key)


stopped = lab.step("kube-proxy stops", builds_on=[ordinary, packets], before=t.goes_on, observe=t.look)


@stopped.act
def stop_kube_proxy(on: Scenario) -> Commands:
    yield from kube_proxy.stop(on)
    yield from kube_proxy.each_node(on, *RULES)
    yield at(on.client_node, "socklb", "status")


@stopped.check
def its_rules_stay(seen: Seen) -> Iterator[c.Claim]:
    for node in seen.on.nodes:
        left = seen.said(*RULES, place=node).out.strip()
        yield c.true(f"{node}: its rules are there without it", left not in ("", "0"), f"{left} rules")
    yield c.says("the status names what is left over", seen.said("socklb", "status"), t.LEFT)
    yield from t.undisturbed(seen, since=ordinary.key)


removed = lab.step("Its rules are removed", builds_on=[ordinary, stopped], before=t.goes_on, observe=t.look)


@removed.act
def remove_rules(on: Scenario) -> Commands:
    yield from kube_proxy.remove_rules(on)
    yield from kube_proxy.each_node(on, *RULES)
    yield at(on.client_node, *GONE, seconds=30)
    yield at(on.client_node, *TRACKING)
    yield from t.entries(on)


@removed.check
def streams_need_no_rule(seen: Seen) -> Iterator[c.Claim]:
    earlier = seen.of(stopped.key)
    for node in seen.on.nodes:
        left, was = (step.said(*RULES, place=node).out.split() for step in (seen, earlier))
        yield c.absent(f"{node}: none of its rules is left", [n for n in left if n != "0"], control=was)
    yield c.absent(
        "the status no longer tells of any", t.told(seen.said(*GONE)), control=t.told(earlier.said("socklb"))
    )
    yield c.says("a rule of others needs connection tracking and NAT", seen.said(*TRACKING), "FLANNEL-POSTRTG")
    yield from t.undisturbed(seen, since=ordinary.key)


carried = lab.step("What carried the older ones", builds_on=[ordinary, removed], before=t.begin_newer, observe=t.look)


@carried.act
def forget_the_connections(on: Scenario) -> Commands:
    yield t.entry("-D", on, on.client)
    yield at(on.client, "sh", "-c", f"sleep 4; tail -n 2 {t.STREAM_LOG} {t.NEWER_LOG}")


@carried.check
def only_the_translated_one_ends(seen: Seen) -> Iterator[c.Claim]:
    outside, last = str(seen.on.outside), seen[Streams].last[seen.on.client]
    yield c.true("without its entry the older stream ends", FAILED in last, last)
    yield seen[t.Newer].live(seen.on.client, "the newer one, which the hook began, goes on without its entry")
    yield seen[Streams].live(outside, f"so does the one of {outside}, whose entry is there")
    yield t.none_failed(seen, since=ordinary.key)
