"""All checks of a node, one kind after the other.

    results = check(config)         # [Result]

Their number is limited: some Services of many, one request each, with two seconds for an answer.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial

from socklb.check import asking, sealed
from socklb.check.node import Node, at_nodes, at_sockets, can_be_asked, explain, others, read, result, some
from socklb.check.result import FAILED, SKIPPED, Result
from socklb.config import Config
from socklb.datapath import dump, features, hooks
from socklb.explain import asker
from socklb.model import ANY4, ANY6, Backend, Frontend, frontend_text, is_ipv4
from socklb.sockets.records import Records
from socklb.status.collected import find_cgroup
from socklb.tc import played
from socklb.tc.seen import seen

SEALED, SERVICES, NODE_PORTS, EMPTY = 500, 30, 5, 5  # the most frontends that are checked
DNS_PORT = 53
STATUS = "socklb status --verbose"


def check(config: Config) -> list[Result]:
    """Run all checks; the caller has verified that there are tables."""
    node = read(config)
    results = [*_hooks(node), *_agent(node)]
    if not asker.find("", find_cgroup(config)).hooked:
        seen = f"it runs outside {find_cgroup(config)}, where no hook sees its sockets"
        return [*results, Result("hooks", "this command", FAILED, seen, "run it on the node itself")]
    with closing(Records(node.pins.maps)) as records:
        return [*results, *_sealed(node), *_from_the_node(node, records), *_dns(node), *_packets(node)]


def _hooks(node: Node) -> Iterator[Result]:
    found = hooks.inspect(find_cgroup(node.config), node.pins.links)
    lacking = [hook.name for hook in found if not hook.effective]
    whole = f"{len(found)} attached and effective"
    yield result("hooks", "the node's cgroup", f"not effective: {', '.join(lacking)}" if lacking else "", whole, STATUS)


def _agent(node: Node) -> Iterator[Result]:
    if node.status is None:
        yield Result("agent", "the agent", FAILED, "no agent runs: changes are not followed", "socklb agent")
        return
    if error := node.status.get("error"):
        yield Result("agent", "the agent", FAILED, error, "socklb status")
        return
    source = node.status["source"]
    problem = "" if node.status["synced"] else "it is not in sync with its source"
    if source["lost_since"] is not None:
        problem = f"{source['where']} is out of reach: {source['reason']}; what was known last is served"
    yield result("agent", "the agent", problem, f"in sync with {source['where']}", "socklb status")
    own = node.status["connect"]
    if own["translated"] is None:
        yield Result("own connect", "the agent's", SKIPPED, own["error"] or "not tried yet")
    else:
        yield result("own connect", "the agent's", own["error"], "translated", STATUS)


def _sealed(node: Node) -> Iterator[Result]:
    """Connect as a pod does, in an isolated network namespace."""
    if not node.config.pod_sockets:
        yield Result("from a pod", "every Service", SKIPPED, "pod_sockets is false: packets serve pods")
        return
    served = [f for f, how in at_sockets(node) if how.backends and f.address not in (ANY4, ANY6)]
    try:
        asked = some(served, SEALED)
        for frontend, problem in zip(asked, _asked_as_a_pod(node, asked), strict=True):
            yield result("from a pod", node.name(frontend), problem, "led to a backend", explain(frontend))
        yield from others("from a pod", served, SEALED)
        yield from _refusals(node)
    except OSError as error:
        yield Result("from a pod", "every Service", FAILED, f"no network namespace: {error}", "run it as root")


def _asked_as_a_pod(node: Node, asked: Sequence[Frontend]) -> Iterator[str]:
    """Yield what is wrong with each frontend; endpoints that changed since the tables were read do not count."""
    problems = sealed.run(partial(sealed.connect, [(frontend, node.serving[frontend]) for frontend in asked]))
    now = dump.read_frontends(node.pins.maps) if any(problems) else {}
    again = [
        (f, now[f]) for f, problem in zip(asked, problems, strict=True) if problem and f in now and now[f].backends
    ]
    still = sealed.run(partial(sealed.connect, again)) if again else []
    known = dict(zip((frontend for frontend, _ in again), still, strict=True))
    for frontend, problem in zip(asked, problems, strict=True):
        yield known.get(frontend, "") if problem else ""


def _refusals(node: Node) -> Iterator[Result]:
    if not features.SET_ERRNO.there():
        yield Result("refusal", "no endpoint", SKIPPED, str(features.SET_ERRNO))
        return
    empty = [f for f, how in at_sockets(node) if not how.backends and f.address not in (ANY4, ANY6)][:EMPTY]
    asked = [*empty, *_unknown_ports(node)]
    for frontend, problem in zip(asked, sealed.run(partial(sealed.refused_all, asked)), strict=True):
        yield result("refusal", node.name(frontend), problem, "refused", explain(frontend))


def _unknown_ports(node: Node) -> Iterator[Frontend]:
    """Yield a port that a Service does not have, in each family."""
    for family in (True, False):
        for address in sorted(one for one in node.services if is_ipv4(one) == family)[:1]:
            ports = (Frontend(address, port, socket.IPPROTO_TCP) for port in range(1, 1 << 16))
            yield next(frontend for frontend in ports if frontend not in node.serving)


def _from_the_node(node: Node, records: Records) -> Iterator[Result]:
    """Connect to real servers."""
    services = [f for f, how in at_sockets(node) if can_be_asked(f, how) and f.address not in (ANY4, ANY6)]
    ports = [f for f, how in at_sockets(node) if can_be_asked(f, how) and f.address in (ANY4, ANY6)][:NODE_PORTS]
    here = list(at_nodes(ports, node.own & node.nodes))
    there = list(at_nodes([f for f in ports if not node.serving[f].own_node_only], node.nodes - node.own))
    named: list[tuple[Frontend, tuple[str, int]]] = []
    for kind, asked, why in (
        ("from the node", some(services, SERVICES), "no Service has TCP and an endpoint"),
        ("NodePort here", here, "no NodePort over TCP has an endpoint"),
        ("NodePort elsewhere", there, "no NodePort over TCP has an endpoint, or there is no other node"),
    ):
        if not asked:
            yield Result(kind, "-", SKIPPED, why)
        for frontend, (problem, name) in asking.all_of(asked, partial(asking.connect, records=records)):
            yield result(kind, node.name(frontend), problem, "connected", explain(frontend))
            named += [(frontend, name)] if name else []
    yield from others("from the node", services, SERVICES)
    wrong = [f"{frontend_text(f)} is {name[0]} port {name[1]}" for f, name in named if name != sealed.end_of(f)]
    if named:
        told = f"{len(named)} sockets are told what they asked for"
        yield result("getpeername", "sockets of the node", "; ".join(wrong), told, STATUS)


def _dns(node: Node) -> Iterator[Result]:
    """Query the cluster's DNS Service, in each family that it has."""
    servers = [f for f, _ in at_sockets(node) if f.port == DNS_PORT and f.protocol == socket.IPPROTO_UDP]
    named = sorted((node.names.get(frontend_text(f), ""), f) for f in servers if f.address not in (ANY4, ANY6))
    chosen = [one for one in named if one[0] == "kube-system/kube-dns"] or [one for one in named if "dns" in one[0]]
    if not chosen:
        yield Result(
            "DNS", "-", SKIPPED, "no Service kube-system/kube-dns, nor another with dns in its name and port 53"
        )
    for service, frontend in chosen:
        if service == chosen[0][0]:
            problem = asking.dns(frontend)
            yield result("DNS", node.name(frontend), problem, "answered, by the Service's name", explain(frontend))


def _packets(node: Node) -> Iterator[Result]:
    """Yield what the agent knows about the packet path, and simulate a client outside."""
    if not node.config.packet_path:
        yield Result("packet path", "the node", SKIPPED, "packet_path is false")
        return
    if node.status is None or "error" in node.status:
        yield Result("packet path", "the node", SKIPPED, "no agent answers that could say")
    else:
        facts = node.status["packet_path"]
        problem = "" if facts["whole"] else facts["error"] or facts["damage"] or "it is not whole"
        yield result("packet path", "the node", problem, "whole", "socklb status")
    yield from _from_outside(node)


def _from_outside(node: Node) -> Iterator[Result]:
    """Simulate a client outside that connects to NodePorts of this node, at each uplink."""
    there = seen(node.pins).devices if node.pins.tc_maps.is_dir() else []
    devices = [one for one in there if not one.of_pods and played.can_be(one.ifindex)]
    ports = [f for f, how in at_sockets(node) if can_be_asked(f, how) and f.address in (ANY4, ANY6)][:NODE_PORTS]
    answering = {f: backends for f in ports if (backends := _outside(node, f))}
    if not devices or not answering:
        why = (
            "no NodePort over TCP has an endpoint for clients outside"
            if devices
            else "no eBPF programs at uplinks with an Ethernet header"
        )
        yield Result("from outside", "-", SKIPPED, why)
        return
    for device in devices:
        for asked in at_nodes(answering, node.own & node.nodes):
            anywhere = asked._replace(address=ANY4 if is_ipv4(asked.address) else ANY6)
            problem = played.problem(device.ifindex, asked, answering[anywhere])
            subject = f"{node.name(asked)} at {device.name}"
            yield result("from outside", subject, problem, "led to a backend", f"{explain(asked)} --from outside")


def _outside(node: Node, frontend: Frontend) -> tuple[Backend, ...]:
    """Return the backends for clients outside."""
    serving = node.outside.get(frontend, node.serving[frontend])
    return serving.backends
