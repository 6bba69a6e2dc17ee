"""UDP and DNS: what README.md tells, done and judged.

The pod `client` asks the DNS pods through the Service `resolver`, which the lab brings along.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from labs.engine import claims as c
from labs.engine.env import Env
from labs.engine.errors import CannotRunError
from labs.engine.evidence import Seen
from labs.engine.model import Lab
from labs.engine.needs import unhooked
from labs.engine.places import at
from labs.engine.scenario import MANY
from labs.engine.stage import serve
from labs.engine.two_ways import unhooked_first

from . import resolver as r
from .resolver import RESOLVER, Earlier, targets, told, udp

lab = Lab(minutes=12)
asked = lab.step("A name is asked for", needs=[unhooked], before=partial(serve, lab), captures=r.at_the_pod)
asked.before(unhooked_first(r.dig_each, r.look("outside")))
asked.act(r.dig_each)


@asked.check
def pods_are_asked(seen: Seen) -> Iterator[c.Claim]:
    for server in r.servers(seen.on):
        said = seen.said(*r.dig(seen.on, server).words)
        yield c.says(f"dig takes the answer as one of {server.address}", said, f"SERVER: {server.address}#{r.PORT}")
    yield c.within("on the wire its questions go to pods", targets(seen), seen.on.backends(RESOLVER))
    for server in r.servers(seen.on):
        yield c.never(seen.capture("pod"), server, control=seen.capture("outside"))


unconnected = lab.step("A socket that is not connected", builds_on=[asked], captures=r.at_the_pod)
unconnected.act(lambda on: [udp(on, "sendto")])


@unconnected.check
def answers_come_from_the_service(seen: Seen) -> Iterator[c.Claim]:
    service = seen.on.cluster_ip(RESOLVER)
    lines = [json.loads(line) for line in seen.said("python3", "-", "sendto").out.splitlines()]
    yield c.equal("recvfrom() names the Service, five times", [line["from"] for line in lines], [str(service)] * 5)
    [*asked_there] = {*targets(seen)}
    yield c.equal("one pod got all the questions", len(asked_there), 1)
    yield c.within("that pod answers", [seen.on.pod_called(line["answer"]) for line in lines], asked_there)
    yield c.never(seen.capture("pod"), service, control=seen.of(asked.key).capture("outside"))


spread = lab.step("Each socket draws for itself", captures=lambda on: [r.look(fold=0)(on)])
spread.act(lambda on: [r.dig_many(on)])


@spread.check
def every_pod_is_asked(seen: Seen) -> Iterator[c.Claim]:
    pods = seen.on.backends(RESOLVER)
    answers = [packet for packet in seen.capture("pod").packets if packet.source in pods.values()]
    yield c.true(f"each of {MANY} questions is answered", len(answers) >= MANY, f"{len(answers)} are")
    yield c.equal("every pod is asked", sorted({*targets(seen)}), sorted(pods))


connected = lab.step("A connected socket has two peers", captures=r.at_the_pod)
connected.act(lambda on: [udp(on, "connect"), at(on.client, *r.PEERS)])
connected.act(lambda on: [at(on.client_node, "socklb", "socket", "list", "--service", RESOLVER), udp(on, "ask")])


@connected.check
def service_for_the_one_and_pod_for_the_other(seen: Seen) -> Iterator[c.Claim]:
    service, pods = seen.on.cluster_ip(RESOLVER), seen.on.backends(RESOLVER)
    said = seen.said("python3", "-", "connect")
    yield c.says("getpeername() says: the Service", said, f'"getpeername": "{service}"')
    peer = r.peer_of(seen.said(*r.PEERS))
    yield c.within("the kernel's table of sockets says: a pod", [peer], [str(end) for end in pods.values()])
    yield c.says("socklb knows both", seen.said("socklb", "socket", "list"), f"{service}  {peer}")
    there = [pod for pod, end in pods.items() if str(end) == peer]
    yield c.within("the question goes to that pod", targets(seen), there)


follows = lab.step("Its backend goes: the socket follows its Service", before=r.left_by(lab), captures=r.at_the_pod)
follows.act(lambda on: [udp(on, "ask"), at(on.client, *r.PEERS)])


@follows.before
def the_agent_moves_it(env: Env) -> None:
    old, peers = str(env.on.backends(RESOLVER)[env.seen[Earlier].pod]), at(env.on.client, *r.PEERS)
    with suppress(CannotRunError):  # what then is not so, the check says
        env.until("the agent has moved the socket", lambda: r.peer_of(env.ask(peers)) != old)


@follows.check
def another_pod_is_asked(seen: Seen) -> Iterator[c.Claim]:
    earlier, pods, own = seen[Earlier], seen.on.backends(RESOLVER), "getsockname"
    before, now = told(earlier.said), told(seen.said("python3", "-", "ask").out)
    left = [name for name in pods if name != earlier.pod]
    yield c.sees(seen.capture("earlier"), pods[earlier.pod], f"before, its question went to {earlier.pod}")
    yield c.equal("it is the same socket: its own address and port", now.get(own), before.get(own, "that of before"))
    peer, service = now.get("getpeername"), str(seen.on.cluster_ip(RESOLVER))
    yield c.equal("to the application its peer is the Service", peer, service)
    yield c.within("another pod answers", [seen.on.pod_called(now.get("answer", ""))], left)
    yield c.within("on the wire the question goes there", targets(seen), left)


nobody = lab.step("Nobody serves", before=r.left_by(lab, everybody=True), captures=r.at_the_pod)
nobody.act(lambda on: [r.dig(on, on.cluster_ip(RESOLVER)), udp(on, "ask")])


@nobody.check
def new_sockets_are_refused(seen: Seen) -> Iterator[c.Claim]:
    own = told(seen[Earlier].said).get("getsockname", "-")
    yield c.says("dig is refused", seen.said("dig"), "connection refused")
    packets = [f"{one.source} → {one.target}" for one in seen.capture("pod").packets if one.protocol == "udp"]
    others = [text for text in packets if own not in text]
    yield c.absent("no datagram of dig leaves the pod", others, control=packets)
    answer = told(seen.said("python3", "-", "ask").out).get("answer", "")
    kept = [seen[Earlier].pod]
    yield c.within("the open socket keeps its pod, which answers still", [seen.on.pod_called(answer)], kept)


@lab.reset
def close_the_socket(env: Env) -> None:
    env.ask(udp(env.on, "close"))
