"""Questions to the Service `resolver`: by dig, and from a socket that stays open while pods leave the Service."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from labs.engine.capture import Look
from labs.engine.cluster import V6
from labs.engine.env import Env
from labs.engine.errors import CannotRunError
from labs.engine.evidence import Seen
from labs.engine.model import Lab, Part
from labs.engine.packet import Endpoint
from labs.engine.places import Command, Output, at
from labs.engine.scenario import MANY, Scenario
from labs.engine.stage import serve

RESOLVER, PORT = "resolver", 53
UDP = Path(__file__).with_name("udp.py")
NAME = ("whoami.example.test", "TXT")
PEERS = ("ss", "-Hun", "dport", "=", f":{PORT}")


@dataclass(frozen=True)
class Earlier:
    """What the open socket said before its Service changed, and the pod that answered it."""

    said: str
    pod: str


def look(name: str = "pod", fold: int = 12) -> Callable[[Scenario], Look]:
    return lambda on: on.at_pod(name, expression="udp or icmp", fold=fold)


def at_the_pod(on: Scenario) -> list[Look]:
    return [look()(on)]


def servers(on: Scenario) -> list[Endpoint]:
    return [on.cluster_ip(RESOLVER), on.cluster_ip(RESOLVER, V6)]


def dig(on: Scenario, server: Endpoint) -> Command:
    how = ("+noall", "+answer", "+stats", "+tries=1", "+timeout=1")
    return at(on.client, "dig", *how, f"@{server.address}", *NAME)


def dig_each(on: Scenario) -> list[Command]:
    return [dig(on, server) for server in servers(on)]


def dig_many(on: Scenario) -> Command:
    words = f"dig +short +tries=1 +timeout=1 @{on.cluster_ip(RESOLVER).address} {' '.join(NAME)}"
    return at(on.client, "sh", "-c", f"for i in $(seq {MANY}); do {words}; done | sort | uniq -c", seconds=30)


def udp(on: Scenario, act: str) -> Command:
    to = (on.cluster_ip(RESOLVER).address, f"{PORT}") if act in ("sendto", "connect") else ()
    return at(on.client, "python3", "-", act, *to, stdin=UDP)


def targets(seen: Seen) -> list[str]:
    """Return whom each question went to: a pod, or an address that is none's."""
    return [seen.on.pod_at(packet.target) for packet in seen.capture("pod").packets if packet.target.port == PORT]


def told(said: str) -> dict[str, str]:
    """Return what the open socket says of itself; nothing where none is open."""
    return json.loads(said) if said.startswith("{") else {}


def peer_of(said: Output) -> str:
    """Return the last column of ss: the other end of the one connected socket."""
    return (said.out.split() or [""])[-1]


def left_by(lab: Lab, *, everybody: bool = False) -> Part:
    """Return a before(): a socket is open and was answered; then its pod, or every pod, leaves the Service."""

    def before(env: Env) -> None:
        serve(lab, env)
        env.run(udp(env.on, "connect"))
        with env.capture(look("earlier")(env.on)):
            said = env.run(udp(env.on, "ask")).out
        pod = env.on.pod_called(told(said).get("answer", ""))
        if not pod:
            raise CannotRunError(f"no pod answered the open socket, which said: {said}")
        env.record(Earlier(said, pod))
        serve(lab, env, without=[*env.on.backends(RESOLVER)] if everybody else [pod])

    return before
