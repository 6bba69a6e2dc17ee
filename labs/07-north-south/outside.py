"""The client outside the cluster: where it is looked at, what it types, and who answers it."""

import json
from collections.abc import Sequence

from labs.engine.capture import Look
from labs.engine.conversation import Conversation
from labs.engine.evidence import Seen
from labs.engine.packet import Endpoint
from labs.engine.places import Command, at
from labs.engine.scenario import Scenario

FRONT, DIRECT = "front", "direct"


def place(on: Scenario) -> str:
    """Return the client outside, which this lab needs."""
    return on.outside or ""


def address(on: Scenario) -> str:
    return on.address(place(on))


def curl(on: Scenario, to: Endpoint, *more: str) -> Command:
    return on.curl(to, *more, place=place(on))


def look(on: Scenario, fold: int = 12) -> Look:
    interface = on.cluster.others[place(on)].interface
    return Look("outside", place(on), interface, "tcp or icmp[icmptype] = icmp-unreach", fold)


def everywhere(on: Scenario) -> list[Look]:
    """Look there, and at each pod that may be asked."""
    return [look(on, 4), *(on.at_pod(pod, pod, "tcp port 8080", fold=2) for pod in on.backends(FRONT))]


def flows(on: Scenario) -> Command:
    """List what the node that is asked keeps of the client's connections to the NodePort."""
    words = f"socklb flow list --client {address(on)} | grep -e CLIENT -e {on.node_port(FRONT)}"
    return at(on.asked, "sh", "-c", words)


def route(on: Scenario, to: str, node: str) -> Command:
    """Be the load balancer: send what is for this address to a node."""
    return at(place(on), "ip", "route", "replace", to, "via", on.address(node), "proto", "static")


def clients(seen: Seen, pods: Sequence[str]) -> list[str]:
    """Return who asked these pods, as they see it. A kubelet's probe asks nothing."""
    found = [one for pod in pods for one in seen.capture(pod).conversations]
    return [one.client.address for one in found if not one.silent]


def health(seen: Seen, end: Endpoint) -> list[str]:
    """Return what health checks of this endpoint were told."""
    return [_status(one) for one in seen.capture("outside").conversations if one.server == end]


def _status(answer: Conversation) -> str:
    """Return the status, and how many endpoints."""
    said = b"".join(packet.payload for packet in answer.packets if packet.source == answer.server)
    words = said.decode(errors="replace").split()
    return f"{words[1]}, {json.loads(answer.reply)['localEndpoints']} endpoints" if len(words) > 1 else "no answer"
