"""Failover and rolling upgrades under load: what README.md tells, done and judged.

The pod `client` asks the Service `shop` by its ClusterIP, which the hooks translate; the client outside asks a
NodePort, which the packet path translates. Both go on all the time, and each of their connections is written down.
"""

from collections.abc import Iterator

from labs.engine import agents, load, servers
from labs.engine import claims as c
from labs.engine.agents import Agents, EarlierAgents, look_at_agents, look_at_earlier_agents
from labs.engine.env import Env
from labs.engine.evidence import Seen
from labs.engine.load import LOG, Load, look_at_load
from labs.engine.model import Commands, Lab
from labs.engine.packet import Endpoint
from labs.engine.places import at
from labs.engine.scenario import Scenario
from labs.engine.stage import serve

SHOP = "shop"
FILE = "/etc/socklb/manifests/lab-06.yaml"  # where each node of the local cluster reads the Service of objects.yaml
lab = Lab(minutes=15)


def asked(on: Scenario) -> dict[str, Endpoint]:
    """Return who asks, and for what."""
    return {on.client: on.cluster_ip(SHOP)} | ({on.outside: on.node_port(SHOP)} if on.outside else {})


def leaver(on: Scenario) -> str:
    """Return the pod that leaves: of the node that the client outside asks, if one is there."""
    return [*on.backends_at(on.asked, SHOP), *on.backends(SHOP)][0]


def others(on: Scenario) -> list[str]:
    return [pod for pod in on.backends(SHOP) if pod != leaver(on)]


def ask_on_and_on(env: Env) -> None:
    """Begin with everybody serving, and with a load that has seen no failure."""
    whole_again(env)
    serve(lab, env)
    load.start(env, asked(env.on), env.on.backends(SHOP))


@lab.reset
def whole_again(env: Env) -> None:
    load.stop(env)
    servers.serve_again(env)
    agents.serve_again(env)


def latest(on: Scenario) -> Commands:
    for place in asked(on):
        yield at(place, "tail", "-n", "5", LOG)


begun = lab.step("Somebody asks all the time", before=ask_on_and_on, observe=look_at_load)
begun.act(latest)


@begun.check
def every_pod_answers(seen: Seen) -> Iterator[c.Claim]:
    for place, service in asked(seen.on).items():
        yield c.says(f"{place} asks {service}, and each connection is a line", seen.said("tail", place=place), "web-")
        yield c.within("the pods of the Service answer", seen[Load].counts[place], seen.on.backends(SHOP))


dies = lab.step("The control: a pod dies unannounced", before=ask_on_and_on, observe=look_at_load)


@dies.act
def let_it_die(on: Scenario) -> Commands:
    yield servers.end(on, leaver(on))
    for place in asked(on):
        yield at(place, "sh", "-c", f"sleep 0.5; grep FAILED {LOG}", lines=5)
    yield from servers.not_ready(on, FILE, leaver(on))
    yield from latest(on)


@dies.check
def connections_fail_until_the_slice_says_so(seen: Seen) -> Iterator[c.Claim]:
    for place in asked(seen.on):
        first = next((line for line in seen[Load].failed if line.startswith(f"{place}:")), "")
        yield c.true(f"{place} has connections that fail", bool(first), first or "no connection failed")
    yield c.within("once it is not ready, the others answer", seen[Load].answering, others(seen.on))


leaves = lab.step("A pod leaves in order", builds_on=[dies], before=ask_on_and_on, observe=look_at_load)


@leaves.act
def let_it_leave(on: Scenario) -> Commands:
    yield from servers.leave(on, FILE, leaver(on), SHOP)
    yield from latest(on)


@leaves.check
def nothing_fails_when_it_leaves(seen: Seen) -> Iterator[c.Claim]:
    yield seen[Load].none_failed(control=seen.of(dies.key)[Load])
    answering, gone = sorted({*seen[Load].answering}), leaver(seen.on)
    yield c.true("its last connections went to the others", gone not in answering, ", ".join(answering))


killed = lab.step("The agent is killed, and another one starts", builds_on=[dies], before=ask_on_and_on)
killed.before(look_at_earlier_agents)
killed.observe(look_at_load)
killed.observe(look_at_agents)
killed.act(lambda on: [agents.kill(on, on.client_node), at(on.client_node, "socklb", "status")])
killed.act(lambda on: [agents.start(on, on.client_node), agents.synced(on.client_node)])


@killed.check
def nobody_notices(seen: Seen) -> Iterator[c.Claim]:
    without = next((one for one in seen.outputs if one.words == ("socklb", "status")), seen.said("socklb", "status"))
    yield c.says("without an agent, what is pinned goes on serving", without, "not running")
    yield from seen[Agents].took_over(seen.on.client_node, seen[EarlierAgents])
    yield seen[Load].none_failed(control=seen.of(dies.key)[Load])


upgraded = lab.step("A rolling upgrade of all agents", builds_on=[dies], before=ask_on_and_on)
upgraded.before(agents.make_next_version)
upgraded.before(look_at_earlier_agents)
upgraded.observe(look_at_load)
upgraded.observe(look_at_agents)


@upgraded.act
def upgrade_node_by_node(on: Scenario) -> Commands:
    for node in on.nodes:
        yield from agents.restarted(on, node, agents.NEXT_PROGRAM)


@upgraded.check
def nobody_notices_the_upgrade(seen: Seen) -> Iterator[c.Claim]:
    for node, told in seen[Agents].running.items():
        yield c.true(f"{node}: the next version runs", "version next" in told, told)
        yield from seen[Agents].took_over(node, seen[EarlierAgents])
    yield seen[Load].none_failed(control=seen.of(dies.key)[Load])
