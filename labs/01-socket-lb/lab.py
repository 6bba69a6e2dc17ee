"""Socket load balancing, packet by packet: what README.md tells, done and judged.

The pod `client` asks the Service `web`, by ClusterIP and by the NodePort of `asked`, a node that is not the client's.
Addresses and names come from the inventory and its nodes; nothing here knows a kind of node.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from labs.engine.capture import Capture
from labs.engine.claims import SYN, Claim, absent, control, equal, first, handshake, never, sees, true, within
from labs.engine.cluster import V4, V6
from labs.engine.env import Env
from labs.engine.evidence import StepEvidence
from labs.engine.model import Lab
from labs.engine.packet import Endpoint
from labs.engine.packet_path import flows
from labs.engine.places import Output

from .asking import (
    CLIENT,
    CURL,
    DNS,
    MANY,
    WEB,
    asked_node,
    client_node,
    is_on,
    node_port,
    peer,
    record_service,
    third_node,
    uplink,
    url,
)

ON_POD = "tcp or udp or icmp or icmp6"  # everything that could carry a Service address
HOOKS = ("connect4", "connect6", "sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6", "getpeername4", "getpeername6")
DIG = ("dig", "+noall", "+answer", "+stats", "+tries=1", "+timeout=1")
WHOAMI = ("whoami.example.test", "TXT")

lab = Lab()

# 1. ------------------------------------------------------------------------------------------------------------------
deployed = lab.step("What is deployed")


@deployed.act
def ask_every_node(env: Env) -> None:
    env.run(client_node(env.cluster), "socklb", "status", "--verbose", lines=60)
    env.record("status", {node: status(env.quietly(node, "socklb", "status", "--json")) for node in env.cluster.nodes})


@deployed.check
def hooks_are_in_effect(seen: StepEvidence) -> Iterator[Claim]:
    for node, said in seen["status"].items():
        running, hooks = said.get("agent", {}).get("running"), {hook["name"]: hook for hook in said.get("hooks", [])}
        idle = [name for name in HOOKS if not (name in hooks and hooks[name]["attached"] and hooks[name]["effective"])]
        yield true(
            f"{node}: the agent runs and has every Service in the kernel", bool(running and said["synced"]), brief(said)
        )
        yield true(
            f"{node}: every hook is attached and in effect", not idle, f"not so: {idle}" if idle else ", ".join(hooks)
        )


# 2. ------------------------------------------------------------------------------------------------------------------
outside = lab.step("The control: outside the hook")


@outside.act
def ask_from_outside_the_hook(env: Env) -> None:
    service = node_port(env.cluster)
    record_service(env)
    asked = asked_node(env.cluster)
    with env.capture("pod", CLIENT, "eth0", ON_POD), env.capture("asked", asked, *uplink(env, asked)):
        done = env.run(CLIENT, *CURL, url(service), hooked=False)
    env.record("answer", done.out.strip())
    env.record("flows", flows(env.run, asked, env.cluster.pod_address(CLIENT)))
    env.show("pod")


@outside.check
def service_address_is_on_the_wire(seen: StepEvidence) -> Iterator[Claim]:
    service = seen.endpoint("service")
    yield control(seen.capture("pod"), service)
    yield control(seen.capture("asked"), service, f"it reaches {seen['asked']}, the node that was asked")
    yield within("a pod answers", [seen["answer"]], seen.endpoints("backends"))
    flow = next((flow for flow in seen["flows"] if f" to {service}, " in flow), "")
    yield true(f"for {seen['asked']} translates every packet, and remembers how", bool(flow), flow or "no flow says so")


# 3. ------------------------------------------------------------------------------------------------------------------
wire = lab.step("The handshake is with the backend pod", needs=[outside])


@wire.act
def ask_through_the_hook(env: Env) -> None:
    record_service(env)
    with env.capture("pod", CLIENT, "eth0", ON_POD):
        done = env.run(CLIENT, *CURL, url(node_port(env.cluster)))
    env.record("answer", done.out.strip())
    env.show("pod")


@wire.check
def backend_from_the_syn_on(seen: StepEvidence) -> Iterator[Claim]:
    capture, backends = seen.capture("pod"), seen.endpoints("backends")
    yield within("the Service answers, by one of its pods", [seen["answer"]], backends)
    yield first(SYN, capture, to=only(backends, seen["answer"]), must="the first SYN goes to the pod that answered")
    yield handshake(capture, "the whole handshake is with it")
    yield never(capture, seen.endpoint("service"), control=seen.of(outside.key).capture("pod"))


# 4. ------------------------------------------------------------------------------------------------------------------
kinds = lab.step("ClusterIP and IPv6 alike")


@kinds.act
def ask_in_every_other_way(env: Env) -> None:
    services = {
        "cluster-ip": env.cluster.cluster_ip(WEB),
        "node-port-v6": node_port(env.cluster, V6),
        "cluster-ip-v6": env.cluster.cluster_ip(WEB, V6),
    }
    env.record("services", services)
    pods = {f"{pod} v{family}": end for family in (V4, V6) for pod, end in env.cluster.backends(WEB, family).items()}
    env.record("backends", pods)
    for way, service in services.items():
        with env.capture(f"{way}-outside", CLIENT, "eth0", ON_POD):
            env.run(CLIENT, *CURL, url(service), hooked=False)
        with env.capture(way, CLIENT, "eth0", ON_POD):
            done = env.run(CLIENT, *CURL, url(service))
        env.record(f"{way}-answer", done.out.strip())
        env.show(way, fold=3)


@kinds.check
def every_way_is_translated(seen: StepEvidence) -> Iterator[Claim]:
    backends = seen.endpoints("backends")
    for way, service in seen.endpoints("services").items():
        capture, pod = seen.capture(way), f"{seen[f'{way}-answer']} {'v6' if way.endswith('v6') else 'v4'}"
        yield first(SYN, capture, to=only(backends, pod), must=f"{service}: the SYN goes to the pod that answered")
        yield never(capture, service, control=seen.capture(f"{way}-outside"))


# 5. ------------------------------------------------------------------------------------------------------------------
transparent = lab.step("The application still sees the Service")


@transparent.act
def ask_as_an_application(env: Env) -> None:
    services = [env.cluster.cluster_ip(WEB), env.cluster.cluster_ip(WEB, V6), node_port(env.cluster)]
    env.record("tcp", [peer(env, "tcp", service) for service in services])
    name_server = env.cluster.cluster_ip(DNS)
    env.record("name_server", name_server)
    env.record("name_servers", env.cluster.backends(DNS))
    dig = (*DIG, f"@{name_server.address}", *WHOAMI)
    with env.capture("outside", CLIENT, "eth0", ON_POD):
        env.run(CLIENT, *dig, hooked=False)
    with env.capture("udp", CLIENT, "eth0", ON_POD):
        env.record("dig", env.run(CLIENT, *dig).out)
        env.record("udp", peer(env, "udp", name_server))
    env.show("udp")


@transparent.check
def applications_see_the_service(seen: StepEvidence) -> Iterator[Claim]:
    for said in seen["tcp"]:
        yield equal(f"getpeername() of a connection to {said['asked']}", said["peer"], said["asked"])
    server, pods, capture = seen.endpoint("name_server"), seen.endpoints("name_servers"), seen.capture("udp")
    yield true(
        "dig takes the answer as the Service's", f"SERVER: {server.address}#53" in seen["dig"], last_word(seen["dig"])
    )
    yield equal("an unconnected UDP socket has its reply from", seen["udp"]["peer"], str(server))
    questions = [packet.target for packet in capture.packets if packet.target.port == server.port]
    by_end = {end: pod for pod, end in pods.items()}
    yield within("on the wire the questions go to its pods", [by_end.get(end, str(end)) for end in questions], pods)
    yield never(capture, server, control=seen.capture("outside"))


# 6. ------------------------------------------------------------------------------------------------------------------
between = lab.step("The nodes on the way translate nothing", needs=[outside])


@between.act
def watch_the_nodes(env: Env) -> None:
    third = third_node(env.cluster)
    client = env.cluster.pod_address(CLIENT)
    env.record("client", client)
    env.record("third", third)
    env.record("backends", env.cluster.backends(WEB))
    before = {flow for node in env.cluster.nodes for flow in flows(env.quietly, node, client)}
    watch_one_connection(env, third)
    ask = {
        node: env.run if node == asked_node(env.cluster) else env.quietly for node in env.cluster.nodes
    }  # shown once
    env.record("flows", [flow for node in ask for flow in flows(ask[node], node, client) if flow not in before])


def watch_one_connection(env: Env, third: str) -> None:
    """One connection to a pod on a node that was not asked, seen at that node and at the one that was."""
    asked = asked_node(env.cluster)
    for attempt in range(1, MANY + 1):
        with env.capture("third", third, *uplink(env, third)), env.capture("asked", asked, *uplink(env, asked)):
            env.quietly(CLIENT, "ping", "-c", "1", "-W", "1", env.cluster.node_address(asked))
            done = env.quietly(CLIENT, *CURL, url(node_port(env.cluster)))
        if done.exit or is_on(env.cluster, done, third) or attempt == MANY:
            env.record("answer", done.out.strip())
            env.screen.command(done)
            break
    env.show("third")
    env.show("asked")


@between.check
def nothing_is_translated_on_the_way(seen: StepEvidence) -> Iterator[Claim]:
    third, asked, outside_asked = seen.capture("third"), seen.capture("asked"), seen.of(outside.key).capture("asked")
    backend = only(seen.endpoints("backends"), seen["answer"])
    yield first(SYN, third, to=backend, must=f"at {seen['third']} the SYN comes in with its pod's address already")
    addresses = [p.source.address for p in third.packets] + [p.target.address for p in third.packets]
    pods = {seen["client"]: CLIENT} | {pod.address: seen["answer"] for pod in backend}
    yield within(
        "nothing but these two pods' addresses is on that wire", [pods.get(a, a) for a in addresses], pods.values()
    )
    yield sees(asked, Endpoint(seen["client"]), f"{asked.place}, which was asked, sees the client's ping")
    yield absent(f"{asked.place} sees nothing of the connection", tcp(asked), control=tcp(outside_asked))
    yield absent("no node has a flow that translates it", seen["flows"], control=seen.of(outside.key)["flows"])


# 7. ------------------------------------------------------------------------------------------------------------------
spread = lab.step("Every backend serves")


@spread.act
def ask_many_times(env: Env) -> None:
    env.record("backends", env.cluster.backends(WEB))
    loop = f"for i in $(seq {MANY}); do {' '.join(CURL)} {url(node_port(env.cluster))}; done | sort | uniq -c"
    counted = env.run(CLIENT, "sh", "-c", loop).out.split()
    env.record("served", dict(zip(counted[1::2], map(int, counted[::2]), strict=True)))


@spread.check
def all_pods_answered(seen: StepEvidence) -> Iterator[Claim]:
    served = seen["served"]
    yield equal(f"each of {MANY} connections is answered", sum(served.values()), MANY)
    yield equal("by every pod of the Service, and by no other", sorted(served), sorted(seen["backends"]))


# What the checks share -----------------------------------------------------------------------------------------------
def status(done: Output) -> Any:
    """`socklb status --json`; where there is no such thing, what was said instead."""
    try:
        return json.loads(done.out)
    except json.JSONDecodeError:
        return {"said": (done.err or done.out).strip()}


def brief(said: Any) -> str:
    if "agent" not in said:
        return said["said"]
    agent = said["agent"]
    return f"process {agent['pid']}, version {agent['version']}, {'' if said['synced'] else 'not '}in sync"


def only(backends: Mapping[str, Endpoint], pod: str) -> list[Endpoint]:
    """Where this pod listens; nowhere, if it is none of them."""
    return [backends[pod]] if pod in backends else []


def tcp(capture: Capture) -> list[str]:
    return [f"{p.source} → {p.target} {p.note}" for p in capture.packets if p.protocol == "tcp"]


def last_word(said: str) -> str:
    return next((line for line in said.splitlines() if "SERVER" in line), said.strip() or "no answer")
