"""UDP and DNS: what README.md tells, done and judged.

The pod `client` asks the DNS pods through the Service `resolver`, which the lab brings along.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from labs.engine import claims as c
from labs.engine.capture import Capture, Look
from labs.engine.cluster import V6
from labs.engine.env import Env
from labs.engine.errors import CannotRunError
from labs.engine.evidence import Seen
from labs.engine.model import Commands, Lab
from labs.engine.needs import unhooked
from labs.engine.packet import Endpoint
from labs.engine.places import Command, Output, at
from labs.engine.scenario import MANY, Scenario
from labs.engine.stage import serve

RESOLVER, PORT = "resolver", 53
UDP = Path(__file__).with_name("udp.py")
NAME = ("whoami.example.test", "TXT")
lab = Lab(minutes=12)


def at_pod(on: Scenario, name: str = "pod", fold: int = 12) -> Look:
    return on.at_pod(name, expression="udp or icmp", fold=fold)


def at_the_pod(on: Scenario) -> list[Look]:
    return [at_pod(on)]


@dataclass(frozen=True)
class Earlier:
    """What the open socket said before its Service changed, and the pod that answered it."""

    said: str
    pod: str


asked = lab.step("A name is asked for", needs=[unhooked], captures=at_the_pod)


@asked.before
def ask_from_outside_the_hook(env: Env) -> None:
    serve(lab, env)
    with env.capture(at_pod(env.on, "outside")):
        for server in servers(env.on):
            env.run(dig(env.on, server, hooked=False))


@asked.act
def ask_for_a_name(on: Scenario) -> Commands:
    for server in servers(on):
        yield dig(on, server)


@asked.check
def pods_are_asked(seen: Seen) -> Iterator[c.Claim]:
    pod = seen.capture("pod")
    for server in servers(seen.on):
        said = seen.said(*dig(seen.on, server).words)
        yield c.says(f"dig takes the answer as one of {server.address}", said, f"SERVER: {server.address}#{PORT}")
    yield c.within("on the wire its questions go to pods", targets(seen, pod), seen.on.backends(RESOLVER))
    for server in servers(seen.on):
        yield c.never(pod, server, control=seen.capture("outside"))


unconnected = lab.step("A socket that is not connected", builds_on=[asked], captures=at_the_pod)


@unconnected.act
def ask_five_times(on: Scenario) -> Commands:
    yield udp(on, "sendto")


@unconnected.check
def answers_come_from_the_service(seen: Seen) -> Iterator[c.Claim]:
    service, pod = seen.on.cluster_ip(RESOLVER), seen.capture("pod")
    lines = [json.loads(line) for line in seen.said("python3", "-", "sendto").out.splitlines()]
    yield c.equal("recvfrom() names the Service, five times", [line["from"] for line in lines], [str(service)] * 5)
    [*asked_there] = {*targets(seen, pod)}
    yield c.equal("one pod got all the questions", len(asked_there), 1)
    yield c.within("that pod answers", [seen.on.pod_called(line["answer"]) for line in lines], asked_there)
    yield c.never(pod, service, control=seen.of(asked.key).capture("outside"))


spread = lab.step("Each socket draws for itself", captures=lambda on: [at_pod(on, fold=0)])


@spread.act
def ask_from_many_sockets(on: Scenario) -> Commands:
    words = f"dig +short +tries=1 +timeout=1 @{on.cluster_ip(RESOLVER).address} {' '.join(NAME)}"
    yield at(on.client, "sh", "-c", f"for i in $(seq {MANY}); do {words}; done | sort | uniq -c")


@spread.check
def every_pod_is_asked(seen: Seen) -> Iterator[c.Claim]:
    pod = seen.capture("pod")
    answers = [packet for packet in pod.packets if packet.source in seen.on.backends(RESOLVER).values()]
    yield c.true(f"each of {MANY} questions is answered", len(answers) >= MANY, f"{len(answers)} are")
    yield c.equal("every pod is asked", sorted({*targets(seen, pod)}), sorted(seen.on.backends(RESOLVER)))


connected = lab.step("A connected socket has two peers", captures=at_the_pod)


@connected.act
def open_a_socket(on: Scenario) -> Commands:
    yield udp(on, "connect")
    yield at(on.client, *PEERS)
    yield at(on.client_node, "socklb", "socket", "list", "--service", RESOLVER)
    yield udp(on, "ask")


@connected.check
def service_for_the_one_and_pod_for_the_other(seen: Seen) -> Iterator[c.Claim]:
    service, pods = seen.on.cluster_ip(RESOLVER), seen.on.backends(RESOLVER)
    said = seen.said("python3", "-", "connect")
    yield c.says("getpeername() says: the Service", said, f'"getpeername": "{service}"')
    peer = peer_of(seen.said(*PEERS))
    yield c.within("the kernel's table of sockets says: a pod", [peer], [str(end) for end in pods.values()])
    known = seen.said("socklb", "socket", "list")
    yield c.says("socklb knows both", known, f"{service}  {peer}")
    there = [pod for pod, end in pods.items() if str(end) == peer]
    yield c.within("the question goes to that pod", targets(seen, seen.capture("pod")), there)


def open_ask_and_leave_out(env: Env, *, everybody: bool) -> None:
    """Have a socket open that was answered; then its pod, or every pod, leaves the Service."""
    serve(lab, env)
    env.run(udp(env.on, "connect"))
    with env.capture(at_pod(env.on, "earlier")):
        said = env.run(udp(env.on, "ask")).out
    pod = env.on.pod_called(told(said).get("answer", ""))
    if not pod:
        raise CannotRunError(f"no pod answered the open socket, which said: {said}")
    env.record(Earlier(said, pod))
    serve(lab, env, without=[*env.on.backends(RESOLVER)] if everybody else [pod])


follows = lab.step("Its backend goes: the socket follows its Service", captures=at_the_pod)


@follows.before
def its_pod_leaves(env: Env) -> None:
    open_ask_and_leave_out(env, everybody=False)
    old = str(env.on.backends(RESOLVER)[env.seen[Earlier].pod])
    with suppress(CannotRunError):  # what then is not so, the check says
        env.until("the agent has moved the socket", lambda: peer_of(env.ask(at(env.on.client, *PEERS))) != old)


@follows.act
def ask_again(on: Scenario) -> Commands:
    yield udp(on, "ask")
    yield at(on.client, *PEERS)


@follows.check
def another_pod_is_asked(seen: Seen) -> Iterator[c.Claim]:
    earlier, pod = seen[Earlier], seen.capture("pod")
    before, now = told(earlier.said), told(seen.said("python3", "-", "ask").out)
    left = [name for name in seen.on.backends(RESOLVER) if name != earlier.pod]
    was = f"before, its question went to {earlier.pod}"
    yield c.sees(seen.capture("earlier"), seen.on.backends(RESOLVER)[earlier.pod], was)
    own = "getsockname"
    yield c.equal("it is the same socket: its own address and port", now.get(own), before.get(own, "that of before"))
    yield c.equal(
        "to the application its peer is the Service", now.get("getpeername"), str(seen.on.cluster_ip(RESOLVER))
    )
    yield c.within("another pod answers", [seen.on.pod_called(now.get("answer", ""))], left)
    yield c.within("on the wire the question goes there", targets(seen, pod), left)


nobody = lab.step("Nobody serves", captures=at_the_pod)


@nobody.before
def every_pod_leaves(env: Env) -> None:
    open_ask_and_leave_out(env, everybody=True)


@nobody.act
def ask_nobody(on: Scenario) -> Commands:
    yield dig(on, on.cluster_ip(RESOLVER))
    yield udp(on, "ask")


@nobody.check
def new_sockets_are_refused(seen: Seen) -> Iterator[c.Claim]:
    earlier, pod = told(seen[Earlier].said), seen.capture("pod")
    yield c.says("dig is refused", seen.said("dig"), "connection refused")
    packets = [f"{packet.source} → {packet.target}" for packet in pod.packets if packet.protocol == "udp"]
    others = [text for text in packets if earlier.get("getsockname", "-") not in text]
    yield c.absent("no datagram of dig leaves the pod", others, control=packets)
    now = told(seen.said("python3", "-", "ask").out)
    yield c.within(
        "the open socket keeps its pod, which answers still",
        [seen.on.pod_called(now.get("answer", ""))],
        [seen[Earlier].pod],
    )


@lab.reset
def close_the_socket(env: Env) -> None:
    env.ask(udp(env.on, "close"))


PEERS = ("ss", "-Hun", "dport", "=", f":{PORT}")


def servers(on: Scenario) -> list[Endpoint]:
    return [on.cluster_ip(RESOLVER), on.cluster_ip(RESOLVER, V6)]


def dig(on: Scenario, server: Endpoint, *, hooked: bool = True) -> Command:
    how = ("+noall", "+answer", "+stats", "+tries=1", "+timeout=1")
    return at(on.client, "dig", *how, f"@{server.address}", *NAME, hooked=hooked)


def udp(on: Scenario, act: str) -> Command:
    to = (on.cluster_ip(RESOLVER).address, f"{PORT}") if act in ("sendto", "connect") else ()
    return at(on.client, "python3", "-", act, *to, stdin=UDP)


def targets(seen: Seen, capture: Capture) -> list[str]:
    """Return whom each question went to: a pod, or an address that is none's."""
    return [seen.on.pod_at(packet.target) for packet in capture.packets if packet.target.port == PORT]


def told(said: str) -> dict[str, str]:
    """Return what the open socket says of itself; nothing where none is open."""
    return json.loads(said) if said.startswith("{") else {}


def peer_of(said: Output) -> str:
    """Return the last column of ss: the other end of the one connected socket."""
    return (said.out.split() or [""])[-1]
